/* How many multiply-adds the processor can do, all operands in registers. In front of this file stand:
 * LANES, float32 values of a vector; TARGET, the attribute of functions that use the wide instructions;
 * BF16, 1 if vdpbf16ps is there, 2 if tile registers are, which the process has asked for. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#if BF16 == 1
#include <immintrin.h>
#endif

/* More than the 4 cycles of latency × 2 units need, few enough for 16 registers. */
enum { ACCUMULATORS = 10, TURNS = 20000, MOST_THREADS = 256 };

typedef float vector __attribute__((vector_size(4 * LANES)));

#define EACH(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9)

struct task {
    int kind;
    double seconds;
    atomic_int *waiting;
    double gflops;
    volatile float sink;
};

static TARGET float turn_float32(float start)
{
    const vector factor = (vector){0} + 0.999f, addend = (vector){0} + start;
#define DECLARE(i) vector a##i = addend + (float)i;
    EACH(DECLARE)
    for (int turn = 0; turn < TURNS; ++turn) {
#define STEP(i) a##i = a##i * factor + addend;
        EACH(STEP)
    }
    vector sum = {0};
#define SUM(i) sum += a##i;
    EACH(SUM)
    return sum[0];
}

#if BF16 == 2
/* Multiply-adds of a tile of 16 x 16 sums, and of a turn. */
enum { TILE = 16 * 16 * 32, OF_A_TURN = 4 * TILE };

static TARGET float turn_bf16(float start)
{
    /* Palette 1; 64 bytes a row from byte 16 on, 16 rows from byte 48 on. */
    static const unsigned char shapes[64] __attribute__((aligned(64))) = {
        1, [16] = 64, [18] = 64, [20] = 64, [22] = 64, [24] = 64, [26] = 64,
        [48] = 16, [49] = 16, [50] = 16, [51] = 16, [52] = 16, [53] = 16};
    __asm__ volatile("ldtilecfg (%0)" ::"r"(shapes) : "memory");
    for (int turn = 0; turn < TURNS; ++turn)
        __asm__ volatile("tdpbf16ps %tmm5, %tmm4, %tmm0\n\ttdpbf16ps %tmm5, %tmm4, %tmm1\n\t"
                         "tdpbf16ps %tmm5, %tmm4, %tmm2\n\ttdpbf16ps %tmm5, %tmm4, %tmm3");
    __asm__ volatile("tilerelease");
    return start;
}
#elif BF16
enum { OF_A_TURN = 2 * LANES * ACCUMULATORS };

static TARGET float turn_bf16(float start)
{
    const __m512bh factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
    const __m512bh other = _mm512_cvtne2ps_pbh(_mm512_set1_ps(start), _mm512_set1_ps(start));
#define DECLARE16(i) __m512 b##i = _mm512_set1_ps((float)i);
    EACH(DECLARE16)
    for (int turn = 0; turn < TURNS; ++turn) {
#define STEP16(i) b##i = _mm512_dpbf16_ps(b##i, factor, other);
        EACH(STEP16)
    }
    __m512 sum = _mm512_setzero_ps();
#define SUM16(i) sum = _mm512_add_ps(sum, b##i);
    EACH(SUM16)
    return _mm512_reduce_add_ps(sum);
}
#endif

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *measure(void *argument)
{
    struct task *task = argument;
    atomic_fetch_sub(task->waiting, 1);
    while (atomic_load(task->waiting) > 0)
        ;
    double operations = 0, elapsed;
    const double start = now();
    do {
#if BF16
        if (task->kind == 1) {
            task->sink = turn_bf16(1e-6f);
            operations += 2.0 * OF_A_TURN * TURNS;
        } else
#endif
        {
            task->sink = turn_float32(1e-6f);
            operations += 2.0 * LANES * ACCUMULATORS * TURNS;
        }
        elapsed = now() - start;
    } while (elapsed < task->seconds);
    task->gflops = 1e-9 * operations / elapsed;
    return NULL;
}

/* GFLOP/s of that many threads together, kind 0 in float32, 1 in dot products of bf16; 0 if that is impossible. */
__attribute__((visibility("default"))) double fleetseg_peak(int kind, int threads, double seconds)
{
    static struct task tasks[MOST_THREADS];
    pthread_t others[MOST_THREADS];
    atomic_int waiting;
    if (threads < 1 || threads > MOST_THREADS || kind < 0 || kind > (BF16 != 0))
        return 0;
    atomic_init(&waiting, threads);
    int started = 0;
    for (int i = 0; i < threads; ++i) {
        tasks[i].kind = kind;
        tasks[i].seconds = seconds;
        tasks[i].waiting = &waiting;
        if (i > 0 && pthread_create(&others[i], NULL, measure, &tasks[i]) == 0)
            ++started;
    }
    /* Those that could not be started are not waited for. */
    atomic_fetch_sub(&waiting, threads - 1 - started);
    measure(&tasks[0]);
    for (int i = 1; i <= started; ++i)
        pthread_join(others[i], NULL);
    double sum = 0;
    for (int i = 0; i < threads; ++i)
        sum += tasks[i].gflops;
    return started == threads - 1 ? sum : 0;
}
