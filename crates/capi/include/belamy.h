/*
 * Belamy from C: drawing samples from trained generators, and training step by step.
 *
 * Made by cbindgen from crates/capi/src; a test compares. See crates/capi/README.md.
 */

#ifndef BELAMY_H
#define BELAMY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 The version of the interface: it grows when something is added, and programs may compare.
 */
#define BELAMY_INTERFACE 1

/*
 How a call ended.
 */
typedef enum belamy_status {
  /*
   As asked.
   */
  BELAMY_STATUS_OK = 0,
  /*
   An argument is null, out of range, or names what is not there.
   */
  BELAMY_STATUS_ARGUMENT = 1,
  /*
   A file cannot be read or written, or is damaged.
   */
  BELAMY_STATUS_FILE = 2,
  /*
   A device is not there, out of memory, or lost.
   */
  BELAMY_STATUS_DEVICE = 3,
  /*
   Training came to a number that is not finite.
   */
  BELAMY_STATUS_NOT_FINITE = 4,
  /*
   A mistake of Belamy's own.
   */
  BELAMY_STATUS_INTERNAL = 5,
} belamy_status;

/*
 A trained generator.
 */
typedef struct belamy_generator belamy_generator;

/*
 A training under way.
 */
typedef struct belamy_trainer belamy_trainer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the interface that the library has: compare it with `BELAMY_INTERFACE`.
 */
uint32_t belamy_interface(void);

/*
 The library's version, such as "0.1.0".
 */
const char *belamy_version(void);

/*
 Opens the generator of a run's newest checkpoint: `run` is the run's folder, `device` is cpu, webgpu or cuda, with :N
 for the N-th, or null for the CPU. The handle goes to `out`; `belamy_generator_free` frees it.

 # Safety

 The texts end with a zero; `out` leads to room for a pointer.
 */
enum belamy_status belamy_generator_open(const char *run,
                                         const char *device_name,
                                         struct belamy_generator **out);

/*
 Frees a generator; null is nothing to free.

 # Safety

 Nobody uses it any more.
 */
void belamy_generator_free(struct belamy_generator *generator);

/*
 How many numbers of noise a sample is made from; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_latent(const struct belamy_generator *generator);

/*
 How many classes it knows; 0 where it takes no labels, and for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_classes(const struct belamy_generator *generator);

/*
 How many numbers a sample has; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_elements(const struct belamy_generator *generator);

/*
 Draws `count` samples for noise of a seed, the samples of `belamy sample --seed`, into `out`, which has room for `room`
 numbers. `labels` are `count` classes, or null: then in turn where there are classes.

 # Safety

 The handle is valid; `labels` is null or leads to `count` labels, `out` to `room` numbers that nobody else uses.
 */
enum belamy_status belamy_generator_sample(const struct belamy_generator *generator,
                                           uint64_t seed,
                                           const uint32_t *labels,
                                           size_t count,
                                           float *out,
                                           size_t room);

/*
 Draws `count` samples for the caller's noise, `count` rows of `belamy_generator_latent` numbers; otherwise as
 `belamy_generator_sample`.

 # Safety

 As there, and `noise` leads to as many numbers.
 */
enum belamy_status belamy_generator_sample_from(const struct belamy_generator *generator,
                                                const float *noise,
                                                const uint32_t *labels,
                                                size_t count,
                                                float *out,
                                                size_t room);

/*
 Why the last call of this thread that failed did; empty if none did. Valid until the thread's next failure.
 */
const char *belamy_last_error(void);

/*
 Begins the training of a recipe whose generator takes noise, from weights drawn by `seed`. `settings` are fields of the
 recipe as `--set` takes them, `key=value`, one a line, or null; `device` as for a generator. The handle goes to `out`;
 `belamy_trainer_free` frees it.

 # Safety

 The texts end with a zero; `out` leads to room for a pointer.
 */
enum belamy_status belamy_trainer_open(const char *recipe,
                                       const char *settings,
                                       uint64_t seed,
                                       const char *device_name,
                                       struct belamy_trainer **out);

/*
 Frees a trainer; null is nothing to free.

 # Safety

 Nobody uses it any more.
 */
void belamy_trainer_free(struct belamy_trainer *trainer);

/*
 How many samples a step takes; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_trainer_batch(const struct belamy_trainer *trainer);

/*
 How many numbers a sample has; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_trainer_elements(const struct belamy_trainer *trainer);

/*
 One step on `belamy_trainer_batch` real samples of `belamy_trainer_elements` numbers each, with their classes where the
 recipe has some (null otherwise). The losses of discriminator and generator go to `losses`, two numbers, unless it is
 null.

 # Safety

 The handle is valid and nobody else's meanwhile; `samples` leads to as many numbers, `labels` to as many classes.
 */
enum belamy_status belamy_trainer_step(struct belamy_trainer *trainer,
                                       const float *samples,
                                       const uint32_t *labels,
                                       float *losses);

/*
 Writes the training as a run that `belamy sample`, `belamy export` and `belamy_generator_open` take: into a folder that is
 new or empty.

 # Safety

 The handle is valid and nobody else's meanwhile; the text ends with a zero.
 */
enum belamy_status belamy_trainer_save(struct belamy_trainer *trainer,
                                       const char *run);

/*
 Why the last call of this thread that failed did; empty if none did. Valid until the thread's next failure.
 */
const char *belamy_last_error(void);

/*
 Opens the generator of a run's newest checkpoint: `run` is the run's folder, `device` is cpu, webgpu or cuda, with :N
 for the N-th, or null for the CPU. The handle goes to `out`; `belamy_generator_free` frees it.

 # Safety

 The texts end with a zero; `out` leads to room for a pointer.
 */
enum belamy_status belamy_generator_open(const char *run,
                                         const char *device_name,
                                         struct belamy_generator **out);

/*
 Frees a generator; null is nothing to free.

 # Safety

 Nobody uses it any more.
 */
void belamy_generator_free(struct belamy_generator *generator);

/*
 How many numbers of noise a sample is made from; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_latent(const struct belamy_generator *generator);

/*
 How many classes it knows; 0 where it takes no labels, and for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_classes(const struct belamy_generator *generator);

/*
 How many numbers a sample has; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_generator_elements(const struct belamy_generator *generator);

/*
 Draws `count` samples for noise of a seed, the samples of `belamy sample --seed`, into `out`, which has room for `room`
 numbers. `labels` are `count` classes, or null: then in turn where there are classes.

 # Safety

 The handle is valid; `labels` is null or leads to `count` labels, `out` to `room` numbers that nobody else uses.
 */
enum belamy_status belamy_generator_sample(const struct belamy_generator *generator,
                                           uint64_t seed,
                                           const uint32_t *labels,
                                           size_t count,
                                           float *out,
                                           size_t room);

/*
 Draws `count` samples for the caller's noise, `count` rows of `belamy_generator_latent` numbers; otherwise as
 `belamy_generator_sample`.

 # Safety

 As there, and `noise` leads to as many numbers.
 */
enum belamy_status belamy_generator_sample_from(const struct belamy_generator *generator,
                                                const float *noise,
                                                const uint32_t *labels,
                                                size_t count,
                                                float *out,
                                                size_t room);

/*
 Begins the training of a recipe whose generator takes noise, from weights drawn by `seed`. `settings` are fields of the
 recipe as `--set` takes them, `key=value`, one a line, or null; `device` as for a generator. The handle goes to `out`;
 `belamy_trainer_free` frees it.

 # Safety

 The texts end with a zero; `out` leads to room for a pointer.
 */
enum belamy_status belamy_trainer_open(const char *recipe,
                                       const char *settings,
                                       uint64_t seed,
                                       const char *device_name,
                                       struct belamy_trainer **out);

/*
 Frees a trainer; null is nothing to free.

 # Safety

 Nobody uses it any more.
 */
void belamy_trainer_free(struct belamy_trainer *trainer);

/*
 How many samples a step takes; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_trainer_batch(const struct belamy_trainer *trainer);

/*
 How many numbers a sample has; 0 for null.

 # Safety

 The handle is null or valid.
 */
size_t belamy_trainer_elements(const struct belamy_trainer *trainer);

/*
 One step on `belamy_trainer_batch` real samples of `belamy_trainer_elements` numbers each, with their classes where the
 recipe has some (null otherwise). The losses of discriminator and generator go to `losses`, two numbers, unless it is
 null.

 # Safety

 The handle is valid and nobody else's meanwhile; `samples` leads to as many numbers, `labels` to as many classes.
 */
enum belamy_status belamy_trainer_step(struct belamy_trainer *trainer,
                                       const float *samples,
                                       const uint32_t *labels,
                                       float *losses);

/*
 Writes the training as a run that `belamy sample`, `belamy export` and `belamy_generator_open` take: into a folder that is
 new or empty.

 # Safety

 The handle is valid and nobody else's meanwhile; the text ends with a zero.
 */
enum belamy_status belamy_trainer_save(struct belamy_trainer *trainer,
                                       const char *run);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BELAMY_H */
