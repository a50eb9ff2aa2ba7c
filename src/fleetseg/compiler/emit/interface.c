/* ---- the interface ---- */

struct NAME_instance {
    struct pool pool;
    struct job job;
    pthread_mutex_t running;
    void *memory;
    double *seconds; /* where the time of each kernel goes, or NULL */
};

struct worker {
    struct NAME_instance *instance;
    int index;
};

/* The thread's own rows of a turn, then the barrier; 0 if nobody wants the kernel's result. */
static inline int take_turn(struct NAME_instance *instance, const struct job *job, int index, const struct turn *turn)
{
    const struct kernel *kernel = &kernels[turn->kernel];
    const int threads = instance->pool.threads, rows = turn->last - turn->first;
    if ((kernel->when == FOR_LOGITS && !job->logits) || (kernel->when == FOR_CLASSES && !job->classes))
        return 0;
    const int first = turn->first + (int)((int64_t)rows * index / threads);
    const int last = turn->first + (int)((int64_t)rows * (index + 1) / threads);
    kernel->run(job, first, last);
    barrier(&instance->pool);
    return 1;
}

static void run_kernels(struct NAME_instance *instance, int index)
{
    /* A copy: behind the last barrier the caller may already set up the next run. */
    const struct job own = instance->job;
    for (int t = 0; t < TURNS; ++t)
        take_turn(instance, &own, index, &turns[t]);
}

/* The same with a look at the clock behind every turn, by the caller's thread. */
static void time_kernels(struct NAME_instance *instance, int index)
{
    const struct job own = instance->job;
    double *const seconds = index == 0 ? instance->seconds : NULL;
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int k = 0; seconds && k < KERNELS; ++k)
        seconds[k] = 0;
    for (int t = 0; t < TURNS; ++t) {
        const int wanted = take_turn(instance, &own, index, &turns[t]);
        if (!seconds || !wanted)
            continue;
        clock_gettime(CLOCK_MONOTONIC, &after);
        seconds[turns[t].kernel] +=
            (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
        before = after;
    }
}

static void *work(void *argument)
{
    const struct worker own = *(struct worker *)argument;
    free(argument);
    unsigned seen = 0;
    for (;;) {
        seen = await_run(&own.instance->pool, seen);
        if (atomic_load(&own.instance->pool.stop))
            return NULL;
        if (own.instance->seconds)
            time_kernels(own.instance, own.index);
        else
            run_kernels(own.instance, own.index);
    }
}

PROCESSOR_CHECK
static void stop_workers(struct NAME_instance *instance, int count)
{
    atomic_store(&instance->pool.stop, 1);
    start_run(&instance->pool);
    for (int i = 0; i < count; ++i)
        pthread_join(instance->pool.workers[i], NULL);
}

static int start_workers(struct NAME_instance *instance)
{
    struct pool *pool = &instance->pool;
    for (int i = 1; i < pool->threads; ++i) {
        struct worker *own = malloc(sizeof *own);
        if (own) {
            own->instance = instance;
            own->index = i;
        }
        if (!own || pthread_create(&pool->workers[i - 1], NULL, work, own) != 0) {
            free(own);
            stop_workers(instance, i - 1);
            return NAME_NO_MEMORY;
        }
    }
    return NAME_OK;
}

static void release(struct NAME_instance *instance)
{
    pthread_mutex_destroy(&instance->pool.mutex);
    pthread_cond_destroy(&instance->pool.wake);
    pthread_mutex_destroy(&instance->running);
    free(instance->pool.workers);
    free(instance->memory);
    free(instance);
}

NAME_API int NAME_create(int threads, NAME_instance **result)
{
    if (!result || threads < 1 || threads > NAME_MAX_THREADS)
        return NAME_BAD_ARGUMENT;
    *result = NULL;
    if (!processor_fits())
        return NAME_BAD_PROCESSOR;
    NAME_instance *instance = calloc(1, sizeof *instance);
    if (!instance)
        return NAME_NO_MEMORY;
    pthread_mutex_init(&instance->pool.mutex, NULL);
    pthread_cond_init(&instance->pool.wake, NULL);
    pthread_mutex_init(&instance->running, NULL);
    instance->pool.threads = threads;
    instance->pool.workers = calloc((size_t)threads, sizeof *instance->pool.workers);
    /* Zeros, for the margins that no kernel writes; the threads then touch the pages together, in the first run. */
    instance->memory = calloc(1, NAME_ARENA_BYTES + 64);
    if (!instance->pool.workers || !instance->memory) {
        release(instance);
        return NAME_NO_MEMORY;
    }
    instance->job.arena = (char *)instance->memory + (64 - (uintptr_t)instance->memory % 64) % 64;
    instance->job.weights = (const word *)(const void *)weights;
    const int status = start_workers(instance);
    if (status != NAME_OK) {
        release(instance);
        return status;
    }
    *result = instance;
    return NAME_OK;
}

static int run(NAME_instance *instance, const uint8_t *image, int width, int height, int channels,
               uint8_t *classes, float *logits, double *seconds)
{
    if (!instance || !image || (!classes && !logits))
        return NAME_BAD_ARGUMENT;
    if (width != NAME_WIDTH || height != NAME_HEIGHT || channels != NAME_CHANNELS)
        return NAME_BAD_SIZE;
    /* One run at a time; an instance of one's own never waits here. */
    pthread_mutex_lock(&instance->running);
    instance->job.image = image;
    instance->job.classes = classes;
    instance->job.logits = logits;
    instance->seconds = seconds;
    start_run(&instance->pool);
    if (seconds)
        time_kernels(instance, 0);
    else
        run_kernels(instance, 0);
    pthread_mutex_unlock(&instance->running);
    return NAME_OK;
}

NAME_API int NAME_run(NAME_instance *instance, const uint8_t *image, int width, int height, int channels,
                      uint8_t *classes, float *logits)
{
    return run(instance, image, width, height, channels, classes, logits, NULL);
}

NAME_API int NAME_profile(NAME_instance *instance, const uint8_t *image, int width, int height, int channels,
                          uint8_t *classes, float *logits, double *seconds)
{
    if (!seconds)
        return NAME_BAD_ARGUMENT;
    return run(instance, image, width, height, channels, classes, logits, seconds);
}

NAME_API void NAME_destroy(NAME_instance *instance)
{
    if (!instance)
        return;
    stop_workers(instance, instance->pool.threads - 1);
    release(instance);
}

NAME_API const char *NAME_message(int status)
{
    switch (status) {
    case NAME_OK:
        return "done";
    case NAME_BAD_ARGUMENT:
        return "an argument is NULL or the number of threads is not between 1 and NAME_MAX_THREADS";
    case NAME_BAD_SIZE:
        return "the image must be " SIZE_TEXT;
    case NAME_NO_MEMORY:
        return "there is not enough memory, or no thread could be started";
    case NAME_BAD_PROCESSOR:
        return "the processor lacks an instruction set that this library uses: " EXTENSIONS_TEXT;
    default:
        return "unknown status";
    }
}

NAME_API const char *NAME_describe(void)
{
    return description;
}
