#include "axr_command.h"

#include <stddef.h>

#include "axr_build.h"
#include "axr_link.h"
#include "axr_mlperf.h"
#include "axr_model.h"
#include "axr_run.h"
#include "port.h"

#define HEADER_BYTES ((uint32_t)sizeof(axr_frame_header_t))
#define BODY_MAX ((uint32_t)AXR_FRAME_MAX - HEADER_BYTES)

/* This many bytes without a valid message, over the time of a trial: the host is at another rate. */
#define UNCLEAR_BYTES_MAX 16U
#define TRIAL_US (1000U * (uint64_t)AXR_BAUD_TRIAL_MS)

typedef enum pending_change {
    CHANGE_NONE,
    CHANGE_RESET,
    CHANGE_BAUD,
    CHANGE_BYE
} pending_change_t;

static struct {
    uint32_t session;
    bool progress_due;
    uint16_t progress_sequence;
    uint16_t sequence;              /* of frames that answer no request */
    pending_change_t change;        /* to make once the reply has left */
    uint32_t new_baud;
    uint32_t baud;
    bool on_trial;
    uint64_t trial_end_us;
    uint32_t unclear_bytes;         /* of the link, when it was last looked at ... */
    uint32_t unclear_base;          /* ... and when the present row of them began */
    uint64_t unclear_since_us;
    uint64_t unclear_last_us;
    axr_boot_t boot;
} command;

static void send(uint8_t kind, const axr_message_t *request, uint32_t body_bytes)
{
    axr_link_send(kind, request->header.sequence, request->header.session, body_bytes);
}

static void reply(const axr_message_t *request, const void *body, uint32_t bytes)
{
    __builtin_memcpy(axr_link_body(), body, bytes);
    send((uint8_t)(request->header.kind + AXR_KIND_REPLY), request, bytes);
}

static void refuse(const axr_message_t *request, axr_status_t status, uint32_t detail)
{
    axr_error_t error = {(uint32_t)status, request->header.kind, detail};
    __builtin_memcpy(axr_link_body(), &error, sizeof error);
    send(AXR_KIND_ERROR, request, sizeof error);
}

static void reply_status(const axr_message_t *request, axr_status_t status)
{
    axr_status_reply_t body = {(uint32_t)status};
    reply(request, &body, sizeof body);
}

static void copy_text(uint8_t *to, uint32_t room, const char *from)
{
    for (uint32_t i = 0; i < room && from[i] != '\0'; i++) {
        to[i] = (uint8_t)from[i];
    }
}

static void describe_firmware(axr_hello_reply_t *hello)
{
    const axr_port_info_t *port = axr_port_info();
    hello->level = AXR_PROTOCOL_LEVEL;
    __builtin_memcpy(hello->build_id, axr_build.build_id, sizeof hello->build_id);
    __builtin_memcpy(hello->unique_id, port->unique_id, sizeof hello->unique_id);
    copy_text(hello->board, sizeof hello->board, port->board);
    copy_text(hello->core, sizeof hello->core, port->core);
    copy_text(hello->time_source, sizeof hello->time_source, port->time_source);
    copy_text(hello->backend, sizeof hello->backend, axr_build.backend->name);
    copy_text(hello->profile, sizeof hello->profile, axr_build.profile);
    hello->core_hz = port->core_hz;
    hello->cycle_hz = port->cycle_hz;
    hello->window_bytes = axr_run_window();
    hello->default_baud = port->default_baud;
    hello->max_baud = port->max_baud;
    hello->reset_reason = command.boot.reset_reason;
    hello->fault_cause = command.boot.fault.cause;
    hello->fault_pc = command.boot.fault.pc;
    hello->fault_lr = command.boot.fault.lr;
    hello->fault_psr = command.boot.fault.psr;
    hello->fault_status = command.boot.fault.status;
    hello->fault_address = command.boot.fault.address;
    hello->ram_slot_bytes = axr_build.ram_slot_bytes;
    hello->nv_slot_bytes = axr_port_slot_bytes();
}

static void describe_model(axr_hello_reply_t *hello)
{
    const axr_model_t *model = axr_model();
    hello->model_place = model->place;
    hello->model_status = (uint32_t)model->status;
    hello->arena_bytes = axr_build.arena_bytes;
    hello->layers = model->info.layer_count;
    __builtin_memcpy(hello->model_hash, model->info.source_sha256, sizeof hello->model_hash);
    __builtin_memcpy(hello->model_name, model->info.name, sizeof hello->model_name);
    hello->program_version = model->info.program_version;
    hello->image_bytes = model->image_bytes;
    hello->arena_used_bytes = model->info.arena_bytes;
    hello->input_bytes = model->info.input.bytes;
    hello->output_bytes = model->output_bytes;
    hello->input_slots = axr_run_input_slots();
    hello->result_slots = axr_run_result_slots();
}

_Static_assert(sizeof(((axr_hello_reply_t *)0)->model_hash) == AXR_SOURCE_HASH_BYTES, "hash");
_Static_assert(sizeof(((axr_hello_reply_t *)0)->model_name) == AXR_MODEL_NAME_BYTES, "name");

/* A new session ends the old one's run; a repeated HELLO changes nothing. */
static void on_hello(const axr_message_t *request)
{
    if (request->header.session == 0U) {
        refuse(request, AXR_LINK_ARGUMENT, 0);
        return;
    }
    if (request->header.session != command.session) {
        command.session = request->header.session;
        command.progress_due = false;
        axr_run_close();
        axr_mlperf_forget();
    }
    axr_hello_reply_t hello;
    __builtin_memset(&hello, 0, sizeof hello);
    describe_firmware(&hello);
    describe_model(&hello);
    reply(request, &hello, sizeof hello);
}

static void owe_progress(const axr_message_t *request)
{
    command.progress_due = true;
    command.progress_sequence = request->header.sequence;
}

static void on_infer(const axr_message_t *request)
{
    axr_infer_t infer;
    __builtin_memcpy(&infer, request->body, sizeof infer);
    axr_status_t status = axr_run_open(&infer);
    if (status != AXR_OK) {
        refuse(request, status, 0);
        return;
    }
    owe_progress(request);
}

static void on_load(const axr_message_t *request)
{
    axr_load_t load;
    if (request->body_bytes < sizeof load) {
        return;
    }
    __builtin_memcpy(&load, request->body, sizeof load);
    axr_run_load(&load, request->body + sizeof load, request->body_bytes - (uint32_t)sizeof load);
    owe_progress(request);
}

static void on_resend(const axr_message_t *request)
{
    axr_resend_t resend;
    __builtin_memcpy(&resend, request->body, sizeof resend);
    axr_run_resend(&resend);
    owe_progress(request);
}

static bool region(uint32_t number, const uint8_t **data, uint32_t *bytes)
{
    if (number == AXR_REGION_INPUT) {
        return axr_run_last_input(data, bytes);
    }
    if (number == AXR_REGION_OUTPUT) {
        return axr_run_last_output(data, bytes);
    }
    if (number == AXR_REGION_MODEL) {
        *data = axr_model()->image;
        *bytes = axr_model()->image_bytes;
        return true;
    }
    *data = axr_build.arena;
    *bytes = axr_build.arena_bytes;
    return number == AXR_REGION_ARENA;
}

static void on_read(const axr_message_t *request)
{
    axr_read_t read;
    const uint8_t *data = NULL;
    uint32_t bytes = 0;
    __builtin_memcpy(&read, request->body, sizeof read);
    if (read.size > AXR_DATA_MAX || !region(read.region, &data, &bytes) || read.size > bytes ||
        read.offset > bytes - read.size) {
        refuse(request, AXR_LINK_RANGE, bytes);
        return;
    }
    axr_read_reply_t head = {read.region, read.offset, bytes};
    __builtin_memcpy(axr_link_body(), &head, sizeof head);
    if (read.size != 0U) {
        __builtin_memcpy(axr_link_body() + sizeof head, data + read.offset, read.size);
    }
    send(AXR_KIND_READ + AXR_KIND_REPLY, request, (uint32_t)sizeof head + read.size);
}

static void on_statistics(const axr_message_t *request)
{
    const axr_link_counts_t *link = axr_link_counts();
    const axr_run_counts_t *run = axr_run_counts();
    axr_statistics_t body = {
        .uptime_us = axr_port_micros(),
        .received_bytes = link->received_bytes,
        .sent_bytes = link->sent_bytes,
        .received_frames = link->received_frames,
        .sent_frames = link->sent_frames,
        .crc_errors = link->crc_errors,
        .frame_errors = link->frame_errors,
        .overruns = axr_port_receive_overruns(),
        .line_errors = axr_port_receive_errors(),
        .duplicates = run->duplicates,
        .gaps = run->gaps,
        .inferences = run->inferences,
        .results_sent = run->results_sent,
    };
    reply(request, &body, sizeof body);
}

static void on_slot(const axr_message_t *request)
{
    axr_slot_t slot;
    __builtin_memcpy(&slot, request->body, sizeof slot);
    axr_run_close();
    axr_slot_reply_t body = axr_model_slot(&slot, request->body + sizeof slot,
                                           request->body_bytes - (uint32_t)sizeof slot);
    reply(request, &body, sizeof body);
}

static void on_baud(const axr_message_t *request)
{
    axr_baud_t body;
    __builtin_memcpy(&body, request->body, sizeof body);
    bool possible = body.baud != 0U && body.baud <= axr_port_info()->max_baud;
    if (possible) {
        command.change = CHANGE_BAUD;
        command.new_baud = body.baud;
    }
    reply_status(request, possible ? AXR_OK : AXR_LINK_BAUD);
}

static void on_change(const axr_message_t *request)
{
    command.change = request->header.kind == AXR_KIND_RESET ? CHANGE_RESET : CHANGE_BYE;
    reply_status(request, AXR_OK);
}

static void on_echo(const axr_message_t *request)
{
    reply(request, request->body, request->body_bytes);
}

typedef struct handler {
    uint8_t kind;
    uint32_t body_min;
    uint32_t body_max;
    void (*handle)(const axr_message_t *request);
} handler_t;

static const handler_t handlers[] = {
    {AXR_KIND_HELLO, sizeof(axr_hello_t), BODY_MAX, on_hello},
    {AXR_KIND_INFER, sizeof(axr_infer_t), sizeof(axr_infer_t), on_infer},
    {AXR_KIND_LOAD, sizeof(axr_load_t), sizeof(axr_load_t) + AXR_DATA_MAX, on_load},
    {AXR_KIND_RESEND, sizeof(axr_resend_t), sizeof(axr_resend_t), on_resend},
    {AXR_KIND_READ, sizeof(axr_read_t), sizeof(axr_read_t), on_read},
    {AXR_KIND_ECHO, 0, AXR_DATA_MAX, on_echo},
    {AXR_KIND_STATISTICS, 0, 0, on_statistics},
    {AXR_KIND_SLOT, sizeof(axr_slot_t), sizeof(axr_slot_t) + AXR_DATA_MAX, on_slot},
    {AXR_KIND_RESET, 0, 0, on_change},
    {AXR_KIND_BAUD, sizeof(axr_baud_t), sizeof(axr_baud_t), on_baud},
    {AXR_KIND_BYE, 0, 0, on_change},
};

static bool in_session(const axr_message_t *request)
{
    return request->header.kind == AXR_KIND_HELLO ||
           (command.session != 0U && request->header.session == command.session);
}

static void dispatch(const axr_message_t *request)
{
    if (!in_session(request)) {
        refuse(request, AXR_LINK_SESSION, 0);
        return;
    }
    for (uint32_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        const handler_t *handler = &handlers[i];
        if (handler->kind != request->header.kind) {
            continue;
        }
        if (request->body_bytes < handler->body_min || request->body_bytes > handler->body_max) {
            refuse(request, AXR_LINK_SIZE, request->body_bytes);
        } else {
            handler->handle(request);
        }
        return;
    }
    refuse(request, AXR_LINK_KIND, 0);
}

static void on_text(const axr_message_t *request)
{
    axr_run_close();
    command.session = 0;
    command.progress_due = false;
    axr_mlperf_command(request->text);
}

/* Stream data can be taken at any time; it needs no answer of its own. */
static bool is_stream_data(axr_link_event_t event, const axr_message_t *message)
{
    return event == AXR_LINK_FRAME && message->header.kind == AXR_KIND_LOAD &&
           message->body_bytes <= sizeof(axr_load_t) + AXR_DATA_MAX && in_session(message);
}

static bool take_stream_data(void)
{
    axr_message_t message;
    bool taken = false;
    while (is_stream_data(axr_link_poll(&message), &message)) {
        on_load(&message);
        axr_link_release();
        taken = true;
    }
    return taken;
}

static bool send_progress(void)
{
    if (!command.progress_due) {
        return false;
    }
    axr_progress_t progress = axr_run_progress();
    progress.rejected = axr_link_counts()->crc_errors + axr_link_counts()->frame_errors;
    __builtin_memcpy(axr_link_body(), &progress, sizeof progress);
    axr_link_send(AXR_KIND_PROGRESS, command.progress_sequence, command.session, sizeof progress);
    command.progress_due = false;
    return true;
}

static bool send_result(void)
{
    uint32_t bytes = axr_run_next_result(axr_link_body(), BODY_MAX);
    if (bytes == 0U) {
        return false;
    }
    axr_link_send(AXR_KIND_RESULT, command.sequence++, command.session, bytes);
    return true;
}

static bool send_due(void)
{
    return command.session != 0U && !axr_link_busy() && command.change == CHANGE_NONE &&
           (send_progress() || send_result());
}

static void between_layers(void)
{
    (void)take_stream_data();
    (void)send_due();
}

static void change_baud(uint32_t baud)
{
    if (baud != command.baud && axr_port_set_baud(baud)) {
        command.baud = baud;
    }
    command.on_trial = command.baud != axr_port_info()->default_baud;
    command.trial_end_us = axr_port_micros() + TRIAL_US;
}

/* Make the change that a reply announced, now that the reply has left. */
static bool make_change(void)
{
    if (command.change == CHANGE_NONE || axr_link_busy()) {
        return false;
    }
    pending_change_t change = command.change;
    command.change = CHANGE_NONE;
    if (change == CHANGE_RESET) {
        axr_port_reset();
    }
    if (change == CHANGE_BAUD) {
        change_baud(command.new_baud);
    } else {
        command.session = 0;
        axr_run_close();
        change_baud(axr_port_info()->default_baud);
    }
    return true;
}

/* Whether bytes have kept coming for a while of which none made a message. */
static bool line_is_unclear(uint64_t now_us)
{
    uint32_t bytes = axr_link_unclear_bytes();
    if (bytes < command.unclear_bytes || now_us - command.unclear_last_us > TRIAL_US) {
        command.unclear_base = bytes < command.unclear_bytes ? 0U : command.unclear_bytes;
        command.unclear_since_us = now_us;
    }
    if (bytes != command.unclear_bytes) {
        command.unclear_last_us = now_us;
    }
    command.unclear_bytes = bytes;
    return bytes - command.unclear_base >= UNCLEAR_BYTES_MAX &&
           now_us - command.unclear_since_us >= TRIAL_US;
}

/* A raised rate that does not work, or that a new host does not know of, is given up. */
static void watch_baud(bool valid_frame)
{
    if (command.baud == axr_port_info()->default_baud || axr_link_busy()) {
        return;
    }
    uint64_t now_us = axr_port_micros();
    if (valid_frame) {
        command.on_trial = false;
    }
    bool expired = command.on_trial && now_us >= command.trial_end_us;
    if (line_is_unclear(now_us) || expired) {
        change_baud(axr_port_info()->default_baud);
    }
}

static bool take_message(void)
{
    axr_message_t message;
    bool taken = take_stream_data();
    axr_link_event_t event = axr_link_poll(&message);
    watch_baud(taken || event == AXR_LINK_FRAME);
    if (event == AXR_LINK_NOTHING || axr_link_busy() || command.change != CHANGE_NONE) {
        return taken;
    }
    if (event == AXR_LINK_FRAME) {
        dispatch(&message);
    } else {
        on_text(&message);
    }
    axr_link_release();
    return true;
}

void axr_command_start(void)
{
    __builtin_memset(&command, 0, sizeof command);
    command.boot = axr_port_boot();
    command.baud = axr_port_info()->default_baud;
    axr_link_start();
    axr_model_start();
    axr_run_start();
    axr_mlperf_start();
}

bool axr_command_step(void)
{
    bool changed = make_change();
    bool taken = take_message();
    bool sent = send_due();
    uint32_t before = axr_run_progress().finished;
    bool ran = command.change == CHANGE_NONE && axr_run_lap(between_layers);
    if (axr_run_progress().finished != before) {
        command.progress_due = true; /* room for more inputs: the host may be waiting for it */
    }
    return changed || taken || sent || ran;
}
