/*
 * Trains points on a sine, made here, and saves the run.
 *
 *     cc train.c -lbelamy_c -lm -o train && ./train RUN 200
 */
#include <belamy.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void must(belamy_status status, const char *what)
{
    if (status == BELAMY_STATUS_OK) return;
    fprintf(stderr, "%s: %s\n", what, belamy_last_error());
    exit(1);
}

int main(int count, char **words)
{
    if (count != 3) return 2;
    belamy_trainer *trainer = NULL;
    must(belamy_trainer_open("sine", "batch=64\n", 1, NULL, &trainer), "opening");
    const size_t batch = belamy_trainer_batch(trainer), steps = strtoul(words[2], NULL, 10);
    float *points = malloc(batch * belamy_trainer_elements(trainer) * sizeof *points), losses[2];
    if (!points) return 1;
    for (size_t step = 0; step < steps; step++) {
        for (size_t point = 0; point < batch; point++) {
            const float x = (float)((step * batch + point) * 0.6180339887 - floor((step * batch + point) * 0.6180339887));
            points[2 * point] = 6.2831853f * x;
            points[2 * point + 1] = sinf(points[2 * point]);
        }
        must(belamy_trainer_step(trainer, points, NULL, losses), "a step");
    }
    printf("losses %.3f %.3f\n", losses[0], losses[1]);
    must(belamy_trainer_save(trainer, words[1]), "saving");
    free(points);
    belamy_trainer_free(trainer);
    return 0;
}
