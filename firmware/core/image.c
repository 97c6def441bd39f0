#include "image.h"

#include <stdbool.h>

#include "crc32.h"
#include "kernels.h"

/* Whether `bytes` from `offset` lie inside of `limit`. */
static bool fits(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return offset <= limit && bytes <= limit - offset;
}

/* ---- header and tables ---- */

static bool table_fits(const axr_image_header_t *header, uint32_t offset, uint64_t bytes)
{
    return offset % 4U == 0U && offset >= sizeof(*header) &&
           fits(offset, bytes, header->image_bytes);
}

static bool name_ends(const axr_image_header_t *header)
{
    for (uint32_t i = 0; i < AXR_MODEL_NAME_BYTES; i++) {
        if (header->name[i] == '\0') {
            return i > 0U;
        }
    }
    return false;
}

static bool counts_are_sane(const axr_image_header_t *header)
{
    return header->record_count <= AXR_MAX_RECORDS &&
           header->program_layer_count >= 1U && header->tensor_count >= 1U &&
           header->output_count >= 1U && header->output_count <= AXR_MAX_OUTPUTS &&
           header->input_tensor < header->tensor_count && name_ends(header);
}

static axr_status_t check_header(const uint8_t *image, uint32_t image_bytes)
{
    const axr_image_header_t *header = (const axr_image_header_t *)(const void *)image;
    if (((uintptr_t)image & 3U) != 0U) {
        return AXR_IMAGE_ALIGNMENT;
    }
    if (image_bytes < sizeof(*header)) {
        return AXR_IMAGE_TOO_SHORT;
    }
    if (header->magic != AXR_IMAGE_MAGIC_WORD) {
        return AXR_IMAGE_MAGIC;
    }
    if (header->version != AXR_IMAGE_LAYOUT_VERSION || header->header_bytes != sizeof(*header)) {
        return AXR_IMAGE_VERSION;
    }
    if (header->image_bytes > image_bytes || header->image_bytes < sizeof(*header)) {
        return AXR_IMAGE_TOO_SHORT;
    }
    const uint32_t checked = header->image_bytes - AXR_IMAGE_CRC_START;
    if (axr_crc32(0, image + AXR_IMAGE_CRC_START, checked) != header->crc32) {
        return AXR_IMAGE_CRC;
    }
    if (!counts_are_sane(header) ||
        !table_fits(header, header->tensors_offset,
                    (uint64_t)header->tensor_count * sizeof(axr_image_tensor_t)) ||
        !table_fits(header, header->records_offset,
                    (uint64_t)header->record_count * sizeof(axr_image_record_t)) ||
        !table_fits(header, header->outputs_offset, (uint64_t)header->output_count * 2U) ||
        !table_fits(header, header->constants_offset, header->constants_bytes)) {
        return AXR_IMAGE_TABLE;
    }
    return AXR_OK;
}

axr_image_t axr_image_view(const uint8_t *image)
{
    const axr_image_header_t *header = (const axr_image_header_t *)(const void *)image;
    return (axr_image_t){
        .header = header,
        .tensors = (const axr_image_tensor_t *)(const void *)(image + header->tensors_offset),
        .records = (const axr_image_record_t *)(const void *)(image + header->records_offset),
        .outputs = (const uint16_t *)(const void *)(image + header->outputs_offset),
        .constants = image + header->constants_offset,
    };
}

/* ---- tensors ---- */

static bool tensor_is_sound(const axr_image_tensor_t *tensor, uint32_t arena_bytes)
{
    const uint32_t width = tensor->element_bytes;
    if (width != 1U && width != 2U && width != 4U) {
        return false;
    }
    if (tensor->height == 0U || tensor->width == 0U || tensor->channels == 0U ||
        tensor->batch == 0U || tensor->offset % width != 0U || tensor->shift > 63U) {
        return false;
    }
    /* Two steps, so that 64 bits hold the product. */
    const uint64_t pixels = (uint64_t)tensor->batch * tensor->height * tensor->width;
    return pixels <= arena_bytes &&
           fits(tensor->offset, pixels * tensor->channels * width, arena_bytes);
}

static axr_status_t check_tensors(const axr_image_t *image)
{
    const axr_image_header_t *header = image->header;
    for (uint32_t i = 0; i < header->tensor_count; i++) {
        if (!tensor_is_sound(&image->tensors[i], header->arena_bytes)) {
            return AXR_IMAGE_TENSOR;
        }
    }
    for (uint32_t i = 0; i < header->output_count; i++) {
        if (image->outputs[i] >= header->tensor_count) {
            return AXR_IMAGE_TENSOR;
        }
    }
    return AXR_OK;
}

/* ---- records ---- */

typedef struct operands {
    const axr_image_t *image;
    const axr_image_record_t *record;
    const axr_image_tensor_t *input;
    const axr_image_tensor_t *second; /* NULL when there is one operand */
    const axr_image_tensor_t *output;
    const axr_channel_t *channels; /* NULL when there are none */
} operands_t;

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

static bool scratch_is_apart(const axr_image_record_t *record, const axr_image_tensor_t *tensor)
{
    return tensor == NULL || record->scratch_bytes == 0U ||
           !overlaps(record->scratch, record->scratch_bytes, tensor->offset,
                     (uint64_t)axr_elements(tensor) * tensor->element_bytes);
}

/* The windows of an average lie inside of the image. */
static bool windows_fit(uint32_t extent, uint32_t count, uint32_t window, uint32_t stride)
{
    return (uint64_t)(count - 1U) * stride + window <= extent;
}

static bool shifts_are_sane(const operands_t *op)
{
    for (uint32_t i = 0; i < op->record->channel_count; i++) {
        if (op->channels[i].shift > AXR_MAX_SHIFT) {
            return false;
        }
    }
    return true;
}

static bool same_extent(const axr_image_tensor_t *a, const axr_image_tensor_t *b)
{
    return a->batch == b->batch && a->height == b->height && a->width == b->width &&
           a->channels == b->channels;
}

static bool repeats(uint32_t extent, uint32_t output)
{
    return extent == output || extent == 1U;
}

static bool operand_repeats(const axr_image_tensor_t *a, const axr_image_tensor_t *output)
{
    return repeats(a->batch, output->batch) && repeats(a->height, output->height) &&
           repeats(a->width, output->width) && repeats(a->channels, output->channels);
}

static axr_status_t check_convolution(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    const uint64_t length = (uint64_t)record->window_height * op->input->channels;
    const uint64_t column_bytes = (length + 3U) / 4U * 8U;
    uint64_t columns = op->output->width;
    if (record->window_width > 1U) {
        columns = (uint64_t)(op->output->width - 1U) * record->stride_x + record->window_width;
    }
    const uint64_t pairs = ((uint64_t)op->output->channels + 1U) / 2U;
    if (op->input->element_bytes != 1U || op->input->batch != op->output->batch ||
        record->channel_count != op->output->channels) {
        return AXR_IMAGE_SHAPE;
    }
    if (pairs * record->window_width * column_bytes != record->weights_bytes) {
        return AXR_IMAGE_CONSTANT;
    }
    return columns * column_bytes <= record->scratch_bytes ? AXR_OK : AXR_IMAGE_SCRATCH;
}

static axr_status_t check_depthwise(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    const uint64_t taps = (uint64_t)record->window_height * record->window_width;
    const uint64_t bytes = (taps + 1U) / 2U * 8U;
    if (op->input->element_bytes != 1U || op->input->batch != op->output->batch ||
        op->input->channels != op->output->channels ||
        record->channel_count != op->output->channels) {
        return AXR_IMAGE_SHAPE;
    }
    if (((uint64_t)op->output->channels + 3U) / 4U * bytes != record->weights_bytes) {
        return AXR_IMAGE_CONSTANT;
    }
    return bytes + op->input->channels <= record->scratch_bytes ? AXR_OK : AXR_IMAGE_SCRATCH;
}

static axr_status_t check_average(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    const uint32_t group = record->extent_channels;
    if (op->input->element_bytes != 1U || op->input->batch != op->output->batch ||
        record->channel_count != 1U || group == 0U ||
        !windows_fit(op->input->height, op->output->height, record->window_height,
                     record->stride_y) ||
        !windows_fit(op->input->width, op->output->width, record->window_width,
                     record->stride_x) ||
        !windows_fit(op->input->channels, op->output->channels, group, group)) {
        return AXR_IMAGE_SHAPE;
    }
    return AXR_OK;
}

static axr_status_t check_max_pool(const operands_t *op)
{
    const bool sound = op->input->batch == op->output->batch &&
                       op->input->channels == op->output->channels &&
                       op->input->element_bytes <= op->output->element_bytes;
    return sound ? AXR_OK : AXR_IMAGE_SHAPE;
}

/* The second operand: a tensor, or an int8 constant whose bytes are its extents' product. */
static axr_status_t check_second(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    if (op->second != NULL) {
        return operand_repeats(op->second, op->output) ? AXR_OK : AXR_IMAGE_SHAPE;
    }
    if ((record->flags & AXR_FLAG_CONSTANT) == 0U) {
        return AXR_IMAGE_LAYER;
    }
    if (!repeats(record->extent_height, op->output->height) ||
        !repeats(record->extent_width, op->output->width) ||
        !repeats(record->extent_channels, op->output->channels)) {
        return AXR_IMAGE_SHAPE;
    }
    const uint64_t elements =
        (uint64_t)record->extent_height * record->extent_width * record->extent_channels;
    return elements == record->weights_bytes ? AXR_OK : AXR_IMAGE_CONSTANT;
}

/* The promise behind AXR_FLAG_NARROW: flat int8 tensors of one extent. */
static bool may_be_narrow(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    const axr_image_tensor_t *output = op->output;
    const uint32_t shift = op->channels[0].shift;
    bool flat;
    if (op->second != NULL) {
        flat = same_extent(op->second, output);
    } else {
        flat = output->batch == 1U && record->extent_height == output->height &&
               record->extent_width == output->width &&
               record->extent_channels == output->channels;
    }
    return flat && same_extent(op->input, output) && output->element_bytes == 1U && shift >= 1U &&
           shift <= 30U;
}

static axr_status_t check_binary(const operands_t *op, uint32_t channel_count)
{
    if (!operand_repeats(op->input, op->output) || op->record->channel_count != channel_count ||
        op->input->element_bytes != 1U || (op->second != NULL && op->second->element_bytes != 1U)) {
        return AXR_IMAGE_SHAPE;
    }
    return check_second(op);
}

static axr_status_t check_add(const operands_t *op)
{
    const axr_status_t status = check_binary(op, 2U);
    if (status == AXR_OK && (op->record->flags & AXR_FLAG_NARROW) != 0U && !may_be_narrow(op)) {
        return AXR_IMAGE_PARAMETER;
    }
    return status;
}

static axr_status_t check_multiply(const operands_t *op)
{
    return check_binary(op, 1U);
}

/* Largest entry of a copy table that is not the fill mark; 0 when all are. */
static uint64_t largest_entry(const uint32_t *table, uint32_t count)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (table[i] != AXR_COPY_FILL && table[i] > largest) {
            largest = table[i];
        }
    }
    return largest;
}

static axr_status_t check_copy(const operands_t *op)
{
    const axr_image_record_t *record = op->record;
    const uint32_t height = record->extent_height;
    const uint32_t width = record->extent_width;
    const uint32_t channels = record->extent_channels;
    const bool runs = (record->flags & AXR_FLAG_CHANNEL_RUNS) != 0U;
    const uint64_t entries = (uint64_t)height + width + (runs ? 1U : channels);
    if (height == 0U || width == 0U || channels == 0U ||
        op->input->element_bytes > op->output->element_bytes) {
        return AXR_IMAGE_SHAPE;
    }
    if (entries * 4U != record->weights_bytes || record->weights % 4U != 0U) {
        return AXR_IMAGE_CONSTANT;
    }
    const uint32_t *rows =
        (const uint32_t *)(const void *)(op->image->constants + record->weights);
    const uint32_t *last = rows + height + width;
    if (runs && last[0] == AXR_COPY_FILL) {
        return AXR_IMAGE_PARAMETER;
    }
    uint64_t source = largest_entry(rows, height) + largest_entry(rows + height, width);
    source += runs ? (uint64_t)last[0] + channels - 1U : largest_entry(last, channels);
    const uint64_t target = (uint64_t)record->destination +
                            (uint64_t)(height - 1U) * op->output->width * op->output->channels +
                            (uint64_t)(width - 1U) * op->output->channels + channels - 1U;
    const bool sound = source < axr_elements(op->input) && target < axr_elements(op->output);
    return sound ? AXR_OK : AXR_IMAGE_SHAPE;
}

static axr_status_t check_softmax(const operands_t *op)
{
    const uint32_t length = op->record->extent_channels;
    if (!same_extent(op->input, op->output) || length == 0U ||
        axr_elements(op->output) % length != 0U || op->record->channel_count != 1U) {
        return AXR_IMAGE_SHAPE;
    }
    /* A finite scale that is not negative: exponent below 255, sign bit clear. */
    const uint32_t bits = (uint32_t)op->channels->multiplier;
    return bits < 0x7F800000U ? AXR_OK : AXR_IMAGE_PARAMETER;
}

static axr_status_t check_curve(const operands_t *op)
{
    const bool sound = same_extent(op->input, op->output) && op->input->element_bytes == 2U;
    return sound ? AXR_OK : AXR_IMAGE_SHAPE;
}

typedef axr_status_t (*check_t)(const operands_t *op);

static const check_t checks[] = {
    [AXR_OP_CONVOLUTION] = check_convolution, [AXR_OP_DEPTHWISE] = check_depthwise,
    [AXR_OP_AVERAGE] = check_average,         [AXR_OP_MAX_POOL] = check_max_pool,
    [AXR_OP_ADD] = check_add,                 [AXR_OP_MULTIPLY] = check_multiply,
    [AXR_OP_COPY] = check_copy,               [AXR_OP_SOFTMAX] = check_softmax,
    [AXR_OP_SIGMOID] = check_curve,           [AXR_OP_TANH] = check_curve,
};

/* What all operations have in common. */
static axr_status_t check_common(const operands_t *op)
{
    const axr_image_header_t *header = op->image->header;
    const axr_image_record_t *record = op->record;
    const int32_t maximum = (int32_t)(0x7FFFFFFFU >> (32U - 8U * op->output->element_bytes));
    const bool windowed = record->op <= AXR_OP_MAX_POOL;
    if (record->minimum < -maximum - 1 || record->minimum > maximum ||
        (windowed && (record->window_height == 0U || record->window_width == 0U ||
                      record->stride_y == 0U || record->stride_x == 0U ||
                      record->stride_y > AXR_MAX_STRIDE || record->stride_x > AXR_MAX_STRIDE)) ||
        record->pad_top < 0 || record->pad_left < 0 || record->output_zero_point < -128 ||
        record->output_zero_point > 127 || record->input_zero_point < -128 ||
        record->input_zero_point > 127 || record->second_zero_point < -128 ||
        record->second_zero_point > 127 || record->program_layer >= header->program_layer_count) {
        return AXR_IMAGE_PARAMETER;
    }
    if (!fits(record->weights, record->weights_bytes, header->constants_bytes) ||
        record->channels % 4U != 0U || record->weights % 4U != 0U ||
        !fits(record->channels, (uint64_t)record->channel_count * sizeof(axr_channel_t),
              header->constants_bytes) ||
        !shifts_are_sane(op)) {
        return AXR_IMAGE_CONSTANT;
    }
    if (record->scratch % AXR_SCRATCH_ALIGNMENT != 0U ||
        !fits(record->scratch, record->scratch_bytes, header->arena_bytes)) {
        return AXR_IMAGE_SCRATCH;
    }
    if (!scratch_is_apart(record, op->input) || !scratch_is_apart(record, op->second) ||
        !scratch_is_apart(record, op->output)) {
        return AXR_IMAGE_OVERLAP;
    }
    return AXR_OK;
}

static axr_status_t check_record(const axr_image_t *image, const axr_image_record_t *record)
{
    const uint32_t tensors = image->header->tensor_count;
    if (record->op < AXR_OP_CONVOLUTION || record->op >= sizeof(checks) / sizeof(checks[0])) {
        return AXR_IMAGE_OPERATION;
    }
    const bool binary = record->op == AXR_OP_ADD || record->op == AXR_OP_MULTIPLY;
    const bool constant = (record->flags & AXR_FLAG_CONSTANT) != 0U;
    if (record->operand_count != (binary && !constant ? 2U : 1U) ||
        record->operands[0] >= tensors || record->output >= tensors ||
        (record->operand_count == 2U && record->operands[1] >= tensors)) {
        return AXR_IMAGE_LAYER;
    }
    const operands_t op = {
        .image = image,
        .record = record,
        .input = &image->tensors[record->operands[0]],
        .second = record->operand_count == 2U ? &image->tensors[record->operands[1]] : NULL,
        .output = &image->tensors[record->output],
        .channels = (const axr_channel_t *)(const void *)(image->constants + record->channels),
    };
    const axr_status_t common = check_common(&op);
    return common == AXR_OK ? checks[record->op](&op) : common;
}

axr_status_t axr_image_check(const uint8_t *bytes, uint32_t image_bytes)
{
    axr_status_t status = check_header(bytes, image_bytes);
    if (status != AXR_OK) {
        return status;
    }
    const axr_image_t image = axr_image_view(bytes);
    status = check_tensors(&image);
    for (uint32_t i = 0; status == AXR_OK && i < image.header->record_count; i++) {
        status = check_record(&image, &image.records[i]);
    }
    return status;
}
