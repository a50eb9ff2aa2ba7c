/* ---- threads: everybody runs every kernel on its own rows and meets the others behind it ---- */

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

/* Turns of a waiting loop before the processor is offered to others, and before a worker sleeps. */
enum { SPIN = 2000, YIELD = 200 };

/* A weight: a float, or two of bf16 in its bits. */
typedef float word __attribute__((may_alias));

struct job {
    char *arena;
    const word *weights;
    const uint8_t *image;
    uint8_t *classes;
    float *logits;
};

struct pool {
    int threads;
    pthread_t *workers;
    atomic_uint arrived;  /* threads that stand at the barrier */
    atomic_uint passed;   /* barriers passed */
    atomic_uint started;  /* runs started */
    atomic_int sleeping;  /* workers that may need waking */
    atomic_int stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static void barrier(struct pool *pool)
{
    if (pool->threads == 1)
        return;
    const unsigned before = atomic_load_explicit(&pool->passed, memory_order_acquire);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)pool->threads) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->passed, before + 1, memory_order_release);
        return;
    }
    for (int turn = 0; atomic_load_explicit(&pool->passed, memory_order_acquire) == before; ++turn) {
        if (turn < SPIN)
            PAUSE();
        else
            sched_yield();
    }
}

/* Wait until a run later than number `seen` starts; returns its number. */
static unsigned await_run(struct pool *pool, unsigned seen)
{
    for (int turn = 0; turn < SPIN + YIELD; ++turn) {
        const unsigned now = atomic_load_explicit(&pool->started, memory_order_acquire);
        if (now != seen)
            return now;
        if (turn < SPIN)
            PAUSE();
        else
            sched_yield();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleeping, 1);
    unsigned now = atomic_load(&pool->started);
    while (now == seen) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
        now = atomic_load(&pool->started);
    }
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void start_run(struct pool *pool)
{
    atomic_fetch_add(&pool->started, 1);
    /* A worker counts itself as sleeping before it looks at `started` for the last time, so none is missed. */
    if (atomic_load(&pool->sleeping) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}
