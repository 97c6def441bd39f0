#include "axr_run.h"

#include <stddef.h>

#include "axr_build.h"
#include "axr_model.h"
#include "crc32.h"
#include "port.h"

/* Positions count from the start of the run: bytes of the stream, or inputs. */
static struct {
    axr_infer_t request;        /* request.run is 0 while no run is open */
    uint32_t accepted;          /* stream bytes in order */
    uint32_t finished;          /* inputs executed */
    uint32_t received;          /* results that the host has */
    uint32_t to_send;           /* next result to send ... */
    uint32_t sent_bytes;        /* ... and how much of it has left */
    uint32_t laps_done;         /* of the current input, warm-up included */
    uint64_t lap_cycles;
    uint32_t sample_count;
    uint64_t cycles_min;
    uint64_t cycles_max;
    axr_status_t status;        /* of the current input */
    uint64_t *layer_cycles;     /* where the hook writes, or NULL */
    void (*between_layers)(void);
} run;

static uint64_t samples[AXR_LAP_SAMPLES];
static axr_run_counts_t counts;

static uint32_t input_bytes(void)
{
    return axr_model()->info.input.bytes;
}

/* A record: axr_result_t, outputs, and 8 bytes for each layer; aligned to 8. */
static uint32_t layers_offset(void)
{
    return ((uint32_t)sizeof(axr_result_t) + axr_model()->output_bytes + 7U) & ~7U;
}

static uint32_t record_bytes(void)
{
    return layers_offset() + 8U * axr_model()->info.layer_count;
}

uint32_t axr_run_input_slots(void)
{
    return input_bytes() == 0U ? 0U : axr_build.staging_bytes / input_bytes();
}

uint32_t axr_run_result_slots(void)
{
    return axr_model()->output_bytes == 0U ? 0U : axr_build.results_bytes / record_bytes();
}

uint32_t axr_run_window(void)
{
    /* The receive ring holds encoded frames: 256 bytes are kept for requests, and a sixteenth
     * covers headers and stuffing of data frames. */
    uint32_t ring = axr_port_info()->receive_bytes;
    uint32_t room = ring > 512U ? ring - 256U : 256U;
    return room - room / 16U;
}

void axr_run_start(void)
{
    __builtin_memset(&counts, 0, sizeof counts);
    axr_run_close();
}

void axr_run_close(void)
{
    __builtin_memset(&run, 0, sizeof run);
}

static axr_status_t check(const axr_infer_t *request)
{
    if (axr_model()->status != AXR_OK) {
        return axr_model()->status;
    }
    if (axr_run_input_slots() == 0U) {
        return AXR_LINK_STAGING;
    }
    if (axr_run_result_slots() == 0U) {
        return AXR_LINK_RESULTS;
    }
    bool fits = request->inputs <= UINT32_MAX / input_bytes() &&
                request->first <= UINT32_MAX - request->inputs &&
                request->laps <= UINT32_MAX - request->warmup;
    return fits && request->inputs != 0U && request->laps != 0U ? AXR_OK : AXR_LINK_ARGUMENT;
}

axr_status_t axr_run_open(const axr_infer_t *request)
{
    if (request->run <= run.request.run) {
        return request->run == 0U ? AXR_LINK_ARGUMENT : AXR_OK;
    }
    axr_status_t status = check(request);
    if (status == AXR_OK) {
        axr_run_close();
        run.request = *request;
    }
    return status;
}

/* Results below input number `received` have arrived: their room is free again. */
static void confirm(uint32_t received)
{
    uint32_t relative = received - run.request.first;
    if (received >= run.request.first && relative <= run.finished && relative > run.received) {
        run.received = relative;
        if (run.to_send < relative) {
            run.to_send = relative;
            run.sent_bytes = 0;
        }
    }
}

/* Stream bytes that fit into the staging memory. */
static uint32_t staging_limit(void)
{
    uint64_t room = ((uint64_t)run.finished + axr_run_input_slots()) * input_bytes();
    uint32_t total = run.request.inputs * input_bytes();
    return room < total ? (uint32_t)room : total;
}

static void store(uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    uint32_t ring = axr_run_input_slots() * input_bytes();
    uint32_t at = offset % ring;
    uint32_t first = bytes < ring - at ? bytes : ring - at;
    __builtin_memcpy(axr_build.staging + at, data, first);
    __builtin_memcpy(axr_build.staging, data + first, bytes - first);
}

void axr_run_load(const axr_load_t *request, const uint8_t *data, uint32_t bytes)
{
    if (run.request.run == 0U || request->run != run.request.run) {
        counts.duplicates++;
        return;
    }
    confirm(request->received);
    if (request->offset > run.accepted) {
        counts.gaps++;
        return;
    }
    uint32_t known = run.accepted - request->offset;
    if (known >= bytes) {
        counts.duplicates += bytes != 0U ? 1U : 0U;
        return;
    }
    uint32_t room = staging_limit() - run.accepted;
    uint32_t fresh = bytes - known < room ? bytes - known : room;
    store(run.accepted, data + known, fresh);
    run.accepted += fresh;
}

void axr_run_resend(const axr_resend_t *request)
{
    if (run.request.run == 0U || request->run != run.request.run) {
        return;
    }
    confirm(request->received);
    uint32_t relative = request->received - run.request.first;
    if (request->received >= run.request.first && relative >= run.received &&
        relative <= run.finished) {
        run.to_send = relative;
        run.sent_bytes = 0;
    }
}

axr_progress_t axr_run_progress(void)
{
    axr_progress_t progress = {run.request.run, run.accepted, 0, 0, 0};
    if (run.request.run != 0U) {
        uint32_t staged = staging_limit();
        uint32_t window = axr_run_window();
        bool far = staged - run.accepted > window;
        progress.limit = far ? run.accepted + window : staged;
        progress.finished = run.request.first + run.finished;
    }
    return progress;
}

static uint8_t *record_of(uint32_t input)
{
    return axr_build.results + (input % axr_run_result_slots()) * record_bytes();
}

static uint8_t *staged(uint32_t input)
{
    return axr_build.staging + (input % axr_run_input_slots()) * input_bytes();
}

static void after_layer(void *user, uint32_t layer, uint64_t elapsed)
{
    (void)user;
    if (run.layer_cycles != NULL && layer < axr_model()->info.layer_count) {
        run.layer_cycles[layer] = elapsed;
    }
    if (run.between_layers != NULL) {
        run.between_layers();
    }
}

static void after_model(void *user, uint64_t elapsed)
{
    (void)user;
    run.lap_cycles = elapsed;
}

static void sift_down(uint32_t root, uint32_t size)
{
    for (uint32_t child = 2U * root + 1U; child < size; child = 2U * root + 1U) {
        if (child + 1U < size && samples[child + 1U] > samples[child]) {
            child++;
        }
        if (samples[root] >= samples[child]) {
            return;
        }
        uint64_t swap = samples[root];
        samples[root] = samples[child];
        samples[child] = swap;
        root = child;
    }
}

/* Lower median of the samples; heap sort, because laps may arrive in any order. */
static uint64_t median(uint32_t size)
{
    for (uint32_t root = size / 2U; root-- > 0U;) {
        sift_down(root, size);
    }
    for (uint32_t end = size; end-- > 1U;) {
        uint64_t swap = samples[0];
        samples[0] = samples[end];
        samples[end] = swap;
        sift_down(0, end);
    }
    return samples[(size - 1U) / 2U];
}

static void count_lap(uint64_t cycles)
{
    uint32_t lap = run.laps_done - run.request.warmup;
    uint32_t step = (run.request.laps - 1U) / AXR_LAP_SAMPLES + 1U;
    if (lap % step == 0U && run.sample_count < AXR_LAP_SAMPLES) {
        samples[run.sample_count++] = cycles;
    }
    if (lap == 0U || cycles < run.cycles_min) {
        run.cycles_min = cycles;
    }
    if (lap == 0U || cycles > run.cycles_max) {
        run.cycles_max = cycles;
    }
}

static axr_status_t copy_outputs(uint8_t *to)
{
    axr_model_t *model = axr_model();
    for (uint32_t i = 0; i < model->info.output_count; i++) {
        uint32_t written = 0;
        uint32_t bytes = model->info.outputs[i].bytes;
        axr_status_t status =
            axr_build.backend->get_output(&model->instance, i, to, bytes, &written);
        if (status != AXR_OK) {
            return status;
        }
        to += bytes;
    }
    return AXR_OK;
}

static void finish_input(void)
{
    bool with_layers = (run.request.flags & AXR_INFER_LAYERS) != 0U;
    uint8_t *record = record_of(run.finished);
    uint32_t layers = 8U * (uint32_t)axr_model()->info.layer_count;
    axr_result_t result = {
        .run = run.request.run,
        .input = run.request.first + run.finished,
        .input_crc = axr_crc32(0, staged(run.finished), input_bytes()),
        .laps = run.request.laps,
        .output_bytes = axr_model()->output_bytes,
        .total_bytes = with_layers ? layers_offset() - (uint32_t)sizeof(axr_result_t) + layers
                                   : axr_model()->output_bytes,
        .cycles_min = run.cycles_min,
        .cycles_max = run.cycles_max,
    };
    if (run.status == AXR_OK) {
        run.status = copy_outputs(record + sizeof result);
        result.cycles_median = median(run.sample_count);
    }
    if (run.status != AXR_OK) {
        result.output_bytes = 0;
        result.total_bytes = 0;
    }
    result.status = (uint32_t)run.status;
    __builtin_memcpy(record, &result, sizeof result);
    run.finished++;
    run.laps_done = 0;
    run.sample_count = 0;
    run.status = AXR_OK;
    counts.inferences++;
}

bool axr_run_lap(void (*between_layers)(void))
{
    if (run.request.run == 0U || run.finished == run.request.inputs ||
        run.finished - run.received >= axr_run_result_slots() ||
        run.accepted / input_bytes() <= run.finished) {
        return false;
    }
    axr_model_t *model = axr_model();
    bool last = run.laps_done + 1U == run.request.laps + run.request.warmup;
    bool with_layers = last && (run.request.flags & AXR_INFER_LAYERS) != 0U;
    axr_layer_hook_t hook = {axr_port_cycles, after_layer, after_model, NULL, with_layers};
    run.layer_cycles = NULL;
    if (with_layers) { /* a layer that the backend leaves out took 0 cycles */
        run.layer_cycles = (uint64_t *)(void *)(record_of(run.finished) + layers_offset());
        __builtin_memset(run.layer_cycles, 0, 8U * (size_t)model->info.layer_count);
    }
    run.between_layers = between_layers;
    run.lap_cycles = 0;
    run.status = axr_build.backend->set_input(&model->instance, staged(run.finished),
                                              input_bytes());
    if (run.status == AXR_OK) {
        run.status = axr_build.backend->infer(&model->instance, &hook);
    }
    if (run.laps_done >= run.request.warmup) {
        count_lap(run.lap_cycles);
    }
    run.laps_done++;
    if (last || run.status != AXR_OK) {
        finish_input();
    }
    return true;
}

uint32_t axr_run_next_result(uint8_t *body, uint32_t room)
{
    if (run.request.run == 0U || run.to_send >= run.finished) {
        return 0;
    }
    const uint8_t *record = record_of(run.to_send);
    axr_result_t result;
    __builtin_memcpy(&result, record, sizeof result);
    result.offset = run.sent_bytes;
    uint32_t left = result.total_bytes - run.sent_bytes;
    uint32_t part = left < room - sizeof result ? left : room - (uint32_t)sizeof result;
    __builtin_memcpy(body, &result, sizeof result);
    __builtin_memcpy(body + sizeof result, record + sizeof result + run.sent_bytes, part);
    run.sent_bytes += part;
    if (run.sent_bytes == result.total_bytes) {
        run.to_send++;
        run.sent_bytes = 0;
        counts.results_sent++;
    }
    return (uint32_t)sizeof result + part;
}

bool axr_run_last_input(const uint8_t **data, uint32_t *bytes)
{
    if (run.finished == 0U) {
        return false;
    }
    *data = staged(run.finished - 1U);
    *bytes = input_bytes();
    return true;
}

bool axr_run_last_output(const uint8_t **data, uint32_t *bytes)
{
    if (run.finished == 0U) {
        return false;
    }
    *data = record_of(run.finished - 1U) + sizeof(axr_result_t);
    *bytes = axr_model()->output_bytes;
    return true;
}

const axr_run_counts_t *axr_run_counts(void)
{
    return &counts;
}
