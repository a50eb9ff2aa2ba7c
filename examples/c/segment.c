/* Labels one picture with a network that `fleetseg export --format c` wrote, and prints how much of it each class has.
 *
 *   fleetseg export enet-camvid --format c --size 480x360 --out compiled
 *   cc -O2 -I compiled -DNETWORK=enet_camvid -DHEADER='"enet_camvid.h"' segment.c compiled/enet_camvid.c \
 *      -o segment -lm -pthread
 *   (or, quicker to build, with compiled/enet_camvid.so in place of the C file and without -lm -pthread)
 *   ./segment street.ppm classes.pgm
 *
 * The picture is a binary PPM (P6) of the size that was compiled for; the classes are written as a binary PGM.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include HEADER

/* The library's names begin with the network's: enet_camvid_run, enet_camvid_WIDTH and so on. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NET(name) JOIN(NETWORK, name)

static uint8_t *read_picture(const char *path, int width, int height)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return NULL;
    }
    size_t bytes = (size_t)width * (size_t)height * 3;
    uint8_t *pixels = malloc(bytes);
    int found_width = 0, found_height = 0, largest = 0;
    int header = fscanf(file, "P6 %d %d %d", &found_width, &found_height, &largest);
    if (header != 3 || found_width != width || found_height != height || largest != 255 || fgetc(file) == EOF) {
        fprintf(stderr, "%s: a binary PPM of %dx%d is needed\n", path, width, height);
        free(pixels);
        pixels = NULL;
    } else if (pixels && fread(pixels, 1, bytes, file) != bytes) {
        fprintf(stderr, "%s: is cut short\n", path);
        free(pixels);
        pixels = NULL;
    }
    fclose(file);
    return pixels;
}

static int write_classes(const char *path, const uint8_t *classes, int width, int height)
{
    size_t pixels = (size_t)width * (size_t)height;
    FILE *file = fopen(path, "wb");
    if (!file) {
        perror(path);
        return 1;
    }
    fprintf(file, "P5 %d %d 255\n", width, height);
    size_t written = fwrite(classes, 1, pixels, file);
    if (fclose(file) != 0 || written != pixels) {
        perror(path);
        return 1;
    }
    return 0;
}

static void print_shares(const uint8_t *classes, size_t pixels)
{
    size_t counts[256] = {0};
    for (size_t i = 0; i < pixels; i++)
        counts[classes[i]]++;
    for (int id = 0; id < 256; id++)
        if (counts[id])
            printf("class %d: %.2f%%\n", id, 100.0 * (double)counts[id] / (double)pixels);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s PICTURE.ppm CLASSES.pgm\n", argv[0]);
        return 2;
    }
    int failed = 1;
    size_t pixels = (size_t)NET(MAP_WIDTH) * NET(MAP_HEIGHT);
    uint8_t *picture = read_picture(argv[1], NET(WIDTH), NET(HEIGHT));
    uint8_t *classes = malloc(pixels);
    NET(instance) *network = NULL;
    if (picture && classes) {
        int status = NET(create)(2, &network);
        if (status == 0)
            status = NET(run)(network, picture, NET(WIDTH), NET(HEIGHT), 3, classes, NULL);
        if (status == 0) {
            print_shares(classes, pixels);
            failed = write_classes(argv[2], classes, NET(MAP_WIDTH), NET(MAP_HEIGHT));
        } else {
            fprintf(stderr, "%s\n", NET(message)(status));
        }
        NET(destroy)(network);
    }
    free(classes);
    free(picture);
    return failed;
}
