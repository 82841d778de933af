/*
 * Draws samples of a run's generator, and writes their numbers to a file.
 *
 *     cc sample.c -lbelamy_c -lm -o sample && ./sample RUN 16 7 samples.f32
 */
#include <belamy.h>
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
    if (count != 5 || belamy_interface() != BELAMY_INTERFACE) {
        fprintf(stderr, "sample RUN SAMPLES SEED FILE, by a library of interface %u\n", BELAMY_INTERFACE);
        return 2;
    }
    belamy_generator *generator = NULL;
    must(belamy_generator_open(words[1], "cpu", &generator), "opening");
    const size_t samples = strtoul(words[2], NULL, 10), numbers = samples * belamy_generator_elements(generator);
    float *out = malloc(numbers * sizeof *out);
    if (!out) return 1;
    must(belamy_generator_sample(generator, strtoull(words[3], NULL, 10), NULL, samples, out, numbers), "sampling");
    FILE *file = fopen(words[4], "wb");
    if (!file || fwrite(out, sizeof *out, numbers, file) != numbers || fclose(file)) {
        perror(words[4]);
        return 1;
    }
    free(out);
    belamy_generator_free(generator);
    return 0;
}
