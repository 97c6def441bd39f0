#include "axr_mlperf.h"

#include <stdbool.h>
#include <stddef.h>

#include "axr_build.h"
#include "axr_link.h"
#include "axr_model.h"
#include "axr_text.h"
#include "port.h"

#define FIRMWARE_VERSION "ULPMark for tinyML Firmware V0.0.1"
#define DEFAULT_WARMUP 10
#define BYTES_PER_LINE 8U

typedef enum conversion {
    INPUT_AS_IS,
    INPUT_UNSIGNED,     /* uint8 pixels, 128 is zero */
    INPUT_FLOAT         /* float32, quantized here */
} conversion_t;

static struct {
    uint32_t expected;      /* bytes announced by db load */
    uint32_t loaded;
    bool have_result;
} item;

static void put(const char *text)
{
    axr_link_write_text(text);
}

static void put_number(uint64_t value)
{
    char digits[AXR_TEXT_NUMBER];
    put(axr_text_unsigned(value, digits));
}

static void put_line(const char *before, uint64_t value, const char *after)
{
    put(before);
    put_number(value);
    put(after);
    put("\r\n");
}

static void put_lap(void)
{
    put_line("m-lap-us-", axr_port_micros(), "");
}

/* Next word of a command, or NULL. `*rest` moves behind it. */
static char *next_word(char **rest)
{
    char *word = *rest;
    while (*word == ' ') {
        word++;
    }
    if (*word == '\0') {
        *rest = word;
        return NULL;
    }
    char *end = word;
    while (*end != ' ' && *end != '\0') {
        end++;
    }
    *rest = end;
    if (*end == ' ') {
        *end = '\0';
        *rest = end + 1;
    }
    return word;
}

static bool profile_is(const char *name)
{
    return axr_text_equal(axr_build.profile, name);
}

static conversion_t conversion(void)
{
    if (profile_is("ad01")) {
        return INPUT_FLOAT;
    }
    return profile_is("ic01") || profile_is("vww01") ? INPUT_UNSIGNED : INPUT_AS_IS;
}

static uint32_t item_bytes(void)
{
    return axr_model()->info.input.bytes * (conversion() == INPUT_FLOAT ? 4U : 1U);
}

/* ---- db ---- */

static void db_load(const char *size)
{
    int32_t bytes = axr_text_integer(size);
    if (bytes <= 0) {
        put("e-[Command 'db load' must be >0 bytes]\r\n");
    } else if ((uint32_t)bytes > axr_build.staging_bytes) {
        put("e-[Command 'db load' takes at most ");
        put_line("", axr_build.staging_bytes, " bytes]");
    } else {
        item.expected = (uint32_t)bytes;
        item.loaded = 0;
        item.have_result = false;
        put_line("m-[Expecting ", item.expected, " bytes]");
    }
}

static void db_bytes(const char *digits)
{
    if ((axr_text_length(digits) & 1U) != 0U) {
        put("e-[Insufficent number of hex digits]\r\n"); /* spelled as clients expect it */
        return;
    }
    if (item.loaded == item.expected) {
        put("e-[No 'db load' is under way]\r\n");
        return;
    }
    for (; digits[0] != '\0' && item.loaded < item.expected; digits += 2) {
        int32_t high = axr_text_hex(digits[0]);
        int32_t low = axr_text_hex(digits[1]);
        if (high < 0 || low < 0) {
            char pair[3] = {digits[0], digits[1], '\0'};
            put("e-[Invalid hex digit '");
            put(pair);
            put("']\r\n");
            return;
        }
        axr_build.staging[item.loaded++] = (uint8_t)(high * 16 + low);
    }
    if (item.loaded == item.expected) {
        put("m-load-done\r\n");
    }
}

static void put_buffer_line(uint32_t from, uint32_t to)
{
    static const char digits[] = "0123456789abcdef";
    put("m-buffer");
    for (uint32_t i = from; i < to; i++) {
        uint8_t byte = axr_build.staging[i];
        char text[4] = {'-', digits[byte >> 4], digits[byte & 15U], '\0'};
        put(text);
    }
    put("\r\n");
}

/* db print [N] [offset]: all loaded bytes unless told otherwise. */
static void db_print(char **rest)
{
    const char *count_word = next_word(rest);
    const char *offset_word = next_word(rest);
    int32_t count = count_word != NULL ? axr_text_integer(count_word) : INT32_MAX;
    int32_t offset = offset_word != NULL ? axr_text_integer(offset_word) : 0;
    uint32_t at = offset > 0 ? (uint32_t)offset : 0U;
    uint32_t left = at < item.loaded ? item.loaded - at : 0U;
    uint32_t end = at + (count > 0 && (uint32_t)count < left ? (uint32_t)count : left);
    for (; count > 0 && at < end; at += BYTES_PER_LINE) {
        put_buffer_line(at, end - at < BYTES_PER_LINE ? end : at + BYTES_PER_LINE);
    }
}

static void db(char **rest)
{
    const char *word = next_word(rest);
    if (word == NULL) {
        put("e-[Command 'db' requires a subcommand]\r\n");
    } else if (axr_text_equal(word, "load")) {
        const char *size = next_word(rest);
        if (size == NULL) {
            put("e-[Command 'db load' requires the # of bytes]\r\n");
        } else {
            db_load(size);
        }
    } else if (axr_text_equal(word, "print")) {
        db_print(rest);
    } else {
        db_bytes(word);
    }
}

/* ---- infer and results ---- */

static float item_float(uint32_t index)
{
    float value;
    __builtin_memcpy(&value, axr_build.staging + 4U * index, sizeof value);
    return value;
}

/* TensorFlow Lite's quantization: round half away from zero, add the zero point, saturate. */
static int8_t quantize(float real)
{
    const axr_tensor_info_t *input = &axr_model()->info.input;
    double scaled = (double)real * (double)input->multiplier / (double)((uint64_t)1 << input->shift);
    double code = scaled + (scaled < 0.0 ? -0.5 : 0.5);
    if (!(code > -1000.0)) { /* also a value that is not a number */
        return INT8_MIN;
    }
    if (code > 1000.0) {
        return INT8_MAX;
    }
    int32_t shifted = (int32_t)code + input->zero_point;
    return (int8_t)(shifted < INT8_MIN ? INT8_MIN : shifted > INT8_MAX ? INT8_MAX : shifted);
}

static const uint8_t *convert_item(void)
{
    conversion_t how = conversion();
    uint32_t elements = axr_model()->info.input.bytes;
    if (how == INPUT_AS_IS) {
        return axr_build.staging;
    }
    uint8_t *converted = axr_build.staging + item.loaded;
    for (uint32_t i = 0; i < elements; i++) {
        converted[i] = how == INPUT_FLOAT ? (uint8_t)quantize(item_float(i))
                                          : (uint8_t)(axr_build.staging[i] ^ 0x80U);
    }
    return converted;
}

/* Whether the loaded item can be inferred; says why not. */
static bool item_ready(void)
{
    if (axr_model()->status != AXR_OK) {
        put_line("e-[No model is open: status ", (uint64_t)axr_model()->status, "]");
        return false;
    }
    if (item.loaded != item_bytes() || item.loaded != item.expected) {
        put("e-[The loaded item has ");
        put_number(item.loaded);
        put_line(" bytes, the model takes ", item_bytes(), "]");
        return false;
    }
    uint32_t converted = conversion() == INPUT_AS_IS ? 0U : axr_model()->info.input.bytes;
    if (converted > axr_build.staging_bytes - item.loaded) {
        put("e-[The firmware has no memory for the converted item]\r\n");
        return false;
    }
    return true;
}

static axr_status_t run_laps(const uint8_t *input, uint32_t laps)
{
    axr_model_t *model = axr_model();
    for (; laps != 0U; laps--) {
        axr_status_t status =
            axr_build.backend->set_input(&model->instance, input, model->info.input.bytes);
        if (status == AXR_OK) {
            status = axr_build.backend->infer(&model->instance, NULL);
        }
        if (status != AXR_OK) {
            return status;
        }
    }
    return AXR_OK;
}

/* The output is copied behind the item; NULL (and a reply) when there is none. */
static const uint8_t *fetch_output(void)
{
    axr_model_t *model = axr_model();
    uint32_t at = (item.loaded + 3U) & ~3U;
    uint32_t written = 0;
    uint8_t *output = axr_build.staging + at;
    axr_status_t status =
        at > axr_build.staging_bytes
            ? AXR_OUTPUT_SIZE
            : axr_build.backend->get_output(&model->instance, 0, output,
                                            axr_build.staging_bytes - at, &written);
    if (status != AXR_OK) {
        put_line("e-[The output cannot be read: status ", (uint64_t)status, "]");
        return NULL;
    }
    return output;
}

static int32_t output_code(const uint8_t *output, uint32_t index)
{
    uint32_t width = axr_model()->info.outputs[0].element_bytes;
    if (width == 1U) {
        return (int8_t)output[index];
    }
    if (width == 2U) {
        int16_t narrow;
        __builtin_memcpy(&narrow, output + 2U * index, sizeof narrow);
        return narrow;
    }
    int32_t wide;
    __builtin_memcpy(&wide, output + 4U * index, sizeof wide);
    return wide;
}

static int64_t output_scaled(const uint8_t *output, uint32_t index)
{
    const axr_tensor_info_t *info = &axr_model()->info.outputs[0];
    return ((int64_t)output_code(output, index) - info->zero_point) * (int64_t)info->multiplier;
}

static void put_vector(const uint8_t *output)
{
    const axr_tensor_info_t *info = &axr_model()->info.outputs[0];
    uint32_t elements = info->bytes / info->element_bytes;
    char number[AXR_TEXT_NUMBER];
    for (uint32_t i = 0; i < elements; i++) {
        put(i == 0U ? "" : ",");
        put(axr_text_fixed(output_scaled(output, i), info->shift, number));
    }
}

/* The mean squared difference of an autoencoder's output and its float input. */
static void put_reconstruction_error(const uint8_t *output)
{
    const axr_tensor_info_t *info = &axr_model()->info.outputs[0];
    uint32_t elements = info->bytes / info->element_bytes;
    uint32_t inputs = item.loaded / 4U;
    elements = elements < inputs ? elements : inputs;
    double sum = 0.0;
    for (uint32_t i = 0; i < elements; i++) {
        double real = (double)output_scaled(output, i) / (double)((uint64_t)1 << info->shift);
        double difference = real - (double)item_float(i);
        sum += difference * difference;
    }
    char number[AXR_TEXT_NUMBER];
    double mean = sum / (double)elements;
    put(mean < 2147483648.0 ? axr_text_real(mean, number) : "2147483648.000");
}

static void results(void)
{
    if (!item.have_result) {
        put("e-[No inference has been run on this item]\r\n");
        return;
    }
    const uint8_t *output = fetch_output();
    if (output == NULL) {
        return;
    }
    put("m-results-[");
    if (conversion() == INPUT_FLOAT) {
        put_reconstruction_error(output);
    } else {
        put_vector(output);
    }
    put("]\r\n");
}

static void infer_item(uint32_t laps, uint32_t warmup)
{
    if (!item_ready()) {
        return;
    }
    const uint8_t *input = convert_item();
    put_line("m-warmup-start-", warmup, "");
    axr_status_t status = run_laps(input, warmup);
    put("m-warmup-done\r\n");
    put_line("m-infer-start-", laps, "");
    axr_link_flush_text(); /* nothing is under way on the line while time is taken */
    uint64_t start_us = axr_port_micros();
    if (status == AXR_OK) {
        status = run_laps(input, laps);
    }
    uint64_t end_us = axr_port_micros();
    item.have_result = status == AXR_OK;
    if (status != AXR_OK) {
        put_line("e-[The inference failed: status ", (uint64_t)status, "]");
        return;
    }
    put_line("m-lap-us-", start_us, "");
    put_line("m-lap-us-", end_us, "");
    put("m-infer-done\r\n");
    results();
}

static void infer(char **rest)
{
    const char *laps_word = next_word(rest);
    const char *warmup_word = next_word(rest);
    int32_t laps = laps_word != NULL ? axr_text_integer(laps_word) : 1;
    int32_t warmup = warmup_word != NULL ? axr_text_integer(warmup_word) : DEFAULT_WARMUP;
    if (laps <= 0) {
        put("e-[Inference iterations must be >0]\r\n");
    } else if (warmup < 0) {
        put("e-[Inference warmup must be >=0]\r\n");
    } else {
        infer_item((uint32_t)laps, (uint32_t)warmup);
    }
}

/* ---- the rest ---- */

static void profile(void)
{
    put("m-profile-[" FIRMWARE_VERSION "]\r\nm-model-[");
    put(axr_build.profile[0] != '\0' ? axr_build.profile : axr_model()->info.name);
    put("]\r\n");
}

static void help(void)
{
    put(FIRMWARE_VERSION "\r\n\r\n"
        "help                : this text\r\n"
        "name                : name of the device\r\n"
        "profile             : firmware and model\r\n"
        "timestamp           : time of the device in microseconds\r\n"
        "db load N           : expect N bytes\r\n"
        "db HH[HH]*          : the next bytes, in hex\r\n"
        "db print [N] [FROM] : show loaded bytes\r\n"
        "infer [N] [W]       : W warm-up and N timed inferences (1, 10)\r\n"
        "results             : result of the last inference\r\n");
}

static void execute(char *text)
{
    char *rest = text;
    const char *word = next_word(&rest);
    word = word != NULL ? word : "";
    if (axr_text_equal(word, "name")) {
        put("m-name-dut-[");
        put(axr_build.vendor);
        put("]\r\n");
    } else if (axr_text_equal(word, "profile")) {
        profile();
    } else if (axr_text_equal(word, "timestamp")) {
        put_lap();
    } else if (axr_text_equal(word, "help")) {
        help();
    } else if (axr_text_equal(word, "db")) {
        db(&rest);
    } else if (axr_text_equal(word, "infer")) {
        infer(&rest);
    } else if (axr_text_equal(word, "results")) {
        results();
    } else {
        put("e-[Unknown command: ");
        put(word);
        put("]\r\n");
    }
}

void axr_mlperf_command(char *text)
{
    execute(text);
    put("m-ready\r\n");
    axr_link_flush_text();
}

void axr_mlperf_forget(void)
{
    __builtin_memset(&item, 0, sizeof item);
}

void axr_mlperf_start(void)
{
    axr_mlperf_forget();
    put("m-timestamp-mode-performance\r\n");
    put_lap();
    put("m-init-done\r\nm-ready\r\n");
    axr_link_flush_text();
}
