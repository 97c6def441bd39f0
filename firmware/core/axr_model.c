#include "axr_model.h"

#include <stddef.h>

#include "axr_build.h"
#include "crc32.h"
#include "port.h"

typedef struct slot_header {
    uint32_t magic;
    uint32_t bytes;
    uint32_t crc;
    uint32_t reserved;
} slot_header_t;

_Static_assert(sizeof(slot_header_t) == AXR_SLOT_HEADER_BYTES, "slot header");

static axr_model_t model;

/* The upload under way. */
static struct {
    bool begun;
    uint32_t place;
    uint32_t bytes;
    uint32_t written;
} upload;

axr_model_t *axr_model(void)
{
    return &model;
}

static axr_status_t refuse(axr_status_t status)
{
    __builtin_memset(&model.info, 0, sizeof model.info);
    model.status = status;
    model.image = NULL;
    model.image_bytes = 0;
    model.output_bytes = 0;
    return status;
}

static axr_status_t open_image(uint32_t place, const uint8_t *image, uint32_t bytes)
{
    model.place = place;
    if (image == NULL || bytes == 0U) {
        return refuse(AXR_NO_MODEL);
    }
    const axr_backend_t *backend = axr_build.backend;
    axr_status_t status =
        backend->open(&model.instance, image, bytes, axr_build.arena, axr_build.arena_bytes);
    if (status == AXR_OK) {
        status = backend->describe(&model.instance, &model.info);
    }
    if (status != AXR_OK) {
        return refuse(status);
    }
    model.status = AXR_OK;
    model.image = image;
    model.image_bytes = bytes;
    model.output_bytes = 0;
    for (uint32_t i = 0; i < model.info.output_count; i++) {
        model.output_bytes += model.info.outputs[i].bytes;
    }
    return AXR_OK;
}

static axr_status_t open_built_in(void)
{
    return open_image(AXR_MODEL_BUILT_IN, axr_build.image, axr_build.image_bytes);
}

static uint32_t capacity_of(uint32_t place)
{
    if (place == AXR_MODEL_RAM) {
        return axr_build.ram_slot_bytes;
    }
    uint32_t whole = place == AXR_MODEL_NON_VOLATILE ? axr_port_slot_bytes() : 0U;
    return whole > AXR_SLOT_HEADER_BYTES ? whole - AXR_SLOT_HEADER_BYTES : 0U;
}

static const uint8_t *memory_of(uint32_t place)
{
    return place == AXR_MODEL_RAM ? axr_build.ram_slot
                                  : axr_port_slot_memory() + AXR_SLOT_HEADER_BYTES;
}

static axr_status_t open_stored(void)
{
    slot_header_t header;
    uint32_t capacity = capacity_of(AXR_MODEL_NON_VOLATILE);
    if (capacity == 0U) {
        return refuse(AXR_SLOT_NONE);
    }
    __builtin_memcpy(&header, axr_port_slot_memory(), sizeof header);
    if (header.magic != AXR_SLOT_MAGIC || header.bytes > capacity) {
        return refuse(AXR_NO_MODEL);
    }
    const uint8_t *image = memory_of(AXR_MODEL_NON_VOLATILE);
    if (axr_crc32(0, image, header.bytes) != header.crc) {
        return refuse(AXR_SLOT_CHECKSUM);
    }
    return open_image(AXR_MODEL_NON_VOLATILE, image, header.bytes);
}

void axr_model_start(void)
{
    __builtin_memset(&model, 0, sizeof model);
    __builtin_memset(&upload, 0, sizeof upload);
    if (axr_build.image_bytes != 0U) {
        (void)open_built_in();
    } else if (open_stored() != AXR_OK) {
        model.place = AXR_MODEL_BUILT_IN;
    }
}

static axr_status_t begin(uint32_t place, uint32_t bytes)
{
    uint32_t capacity = capacity_of(place);
    if (capacity == 0U) {
        return AXR_SLOT_NONE;
    }
    if (bytes == 0U || bytes > capacity) {
        return AXR_SLOT_SIZE;
    }
    upload.begun = false;
    if (model.place == place) {
        (void)refuse(AXR_NO_MODEL);
    }
    if (place == AXR_MODEL_NON_VOLATILE && !axr_port_slot_erase(bytes + AXR_SLOT_HEADER_BYTES)) {
        return AXR_SLOT_DEVICE;
    }
    upload.begun = true;
    upload.place = place;
    upload.bytes = bytes;
    upload.written = 0;
    return AXR_OK;
}

static axr_status_t write(uint32_t place, uint32_t offset, const uint8_t *data, uint32_t bytes)
{
    if (!upload.begun || upload.place != place || offset > upload.written) {
        return AXR_SLOT_ORDER;
    }
    if (bytes > upload.bytes || offset > upload.bytes - bytes) {
        return AXR_SLOT_ORDER;
    }
    if (offset + bytes <= upload.written) {
        return AXR_OK; /* repeated: a reply was lost */
    }
    if (offset != upload.written) {
        return AXR_SLOT_ORDER;
    }
    if (place == AXR_MODEL_RAM) {
        __builtin_memcpy(axr_build.ram_slot + offset, data, bytes);
    } else if (!axr_port_slot_write(offset + AXR_SLOT_HEADER_BYTES, data, bytes)) {
        upload.begun = false;
        return AXR_SLOT_DEVICE;
    }
    upload.written += bytes;
    return AXR_OK;
}

/* A commit that is repeated because its reply was lost finds the work done. */
static bool committed(uint32_t place, uint32_t bytes, uint32_t crc)
{
    return model.status == AXR_OK && model.place == place && model.image_bytes == bytes &&
           axr_crc32(0, model.image, bytes) == crc;
}

static axr_status_t commit(uint32_t place, uint32_t bytes, uint32_t crc)
{
    if (!upload.begun && committed(place, bytes, crc)) {
        return AXR_OK;
    }
    if (!upload.begun || upload.place != place || upload.bytes != bytes ||
        upload.written != bytes) {
        return AXR_SLOT_ORDER;
    }
    upload.begun = false;
    if (axr_crc32(0, memory_of(place), bytes) != crc) {
        return AXR_SLOT_CHECKSUM;
    }
    axr_status_t status = open_image(place, memory_of(place), bytes);
    if (status != AXR_OK) {
        (void)open_built_in();
        return status;
    }
    if (place == AXR_MODEL_NON_VOLATILE) {
        slot_header_t header = {AXR_SLOT_MAGIC, bytes, crc, 0xFFFFFFFFU};
        if (!axr_port_slot_write(0, (const uint8_t *)&header, sizeof header)) {
            return AXR_SLOT_DEVICE;
        }
    }
    return AXR_OK;
}

static axr_status_t select_place(uint32_t place)
{
    if (place == AXR_MODEL_BUILT_IN) {
        return open_built_in();
    }
    if (place == AXR_MODEL_NON_VOLATILE) {
        return open_stored();
    }
    /* An uploaded model in RAM is opened by its commit and lost by any other choice. */
    return model.place == place && model.status == AXR_OK ? AXR_OK : AXR_SLOT_NONE;
}

axr_slot_reply_t axr_model_slot(const axr_slot_t *request, const uint8_t *data, uint32_t bytes)
{
    axr_status_t status = AXR_LINK_ARGUMENT;
    if (request->operation == AXR_SLOT_BEGIN) {
        status = begin(request->place, request->value);
    } else if (request->operation == AXR_SLOT_WRITE) {
        status = write(request->place, request->value, data, bytes);
    } else if (request->operation == AXR_SLOT_COMMIT) {
        status = commit(request->place, request->value, request->crc);
    } else if (request->operation == AXR_SLOT_SELECT) {
        status = select_place(request->place);
    }
    axr_slot_reply_t reply = {(uint32_t)status, upload.written};
    return reply;
}
