/* TITLE
 *
 * Made by fleetseg compile; do not edit. Link with -lpthread (and -lm where that is separate).
 */
#ifndef NAME_H
#define NAME_H

#include <stdint.h>

#if defined(_WIN32)
#define NAME_API __declspec(dllexport)
#else
#define NAME_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    NAME_WIDTH = @WIDTH@,
    NAME_HEIGHT = @HEIGHT@,
    NAME_CHANNELS = @CHANNELS@,
    NAME_CLASSES = @CLASSES@,
    /* Size of the class map and of each logit plane. */
    NAME_MAP_WIDTH = @MAP_WIDTH@,
    NAME_MAP_HEIGHT = @MAP_HEIGHT@,
    NAME_ARENA_BYTES = @ARENA@,
    /* Entries of "kernels" in the description. */
    NAME_KERNELS = @KERNELS@,
    NAME_MAX_THREADS = 256
};

enum {
    NAME_OK = 0,
    NAME_BAD_ARGUMENT = 1,
    NAME_BAD_SIZE = 2,
    NAME_NO_MEMORY = 3,
    NAME_BAD_PROCESSOR = 4
};

typedef struct NAME_instance NAME_instance;

/* Make an instance with that many threads (the caller's included); all memory is allocated here. */
NAME_API int NAME_create(int threads, NAME_instance **result);

/* Label an image of height × width × channels bytes, RGB interleaved. Either result may be NULL, not both:
 * `classes` gets NAME_MAP_HEIGHT × NAME_MAP_WIDTH class ids, `logits` NAME_CLASSES planes of that size.
 * Calls on one instance follow each other; different instances run side by side. */
NAME_API int NAME_run(NAME_instance *instance, const uint8_t *image, int width, int height, int channels,
                      uint8_t *classes, float *logits);

/* Like run, and says how long each kernel took: `seconds` gets NAME_KERNELS values, 0 for kernels that the asked
 * results do not need. Waiting for the slowest thread is part of a kernel's time. */
NAME_API int NAME_profile(NAME_instance *instance, const uint8_t *image, int width, int height, int channels,
                          uint8_t *classes, float *logits, double *seconds);

NAME_API void NAME_destroy(NAME_instance *instance);

/* A sentence for a status that create or run returned. */
NAME_API const char *NAME_message(int status);

/* JSON: classes, palette, normalisation, sizes, target. */
NAME_API const char *NAME_describe(void);

#ifdef __cplusplus
}
#endif

#endif
