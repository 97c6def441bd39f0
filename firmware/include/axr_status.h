/*
 * Status codes: the only numbers that say what went wrong, on the device and on the host.
 *
 * Every code is written as `AXR_<NAME> = <decimal>,` on a line of its own, followed by a comment
 * that is the sentence for the reader. The host's mirror is harness/firmware_status.py;
 * tests/contract compares the two by reading this file.
 *
 * Ranges: 0 success, 1..31 model image, 32..63 inference, 64..95 link, 96..127 port and device.
 */
#ifndef AXR_STATUS_H
#define AXR_STATUS_H

#include <stdint.h>

typedef enum axr_status {
    AXR_OK = 0, /* success */

    AXR_IMAGE_TOO_SHORT = 1,      /* fewer bytes than the header, or than the header states */
    AXR_IMAGE_MAGIC = 2,          /* not a model image */
    AXR_IMAGE_VERSION = 3,        /* a layout version that this firmware does not read */
    AXR_IMAGE_CRC = 4,            /* the checksum does not match the bytes */
    AXR_IMAGE_TABLE = 5,          /* a table lies outside of the image or is misaligned */
    AXR_IMAGE_TENSOR = 6,         /* a tensor is malformed or lies outside of the arena */
    AXR_IMAGE_LAYER = 7,          /* a layer names a tensor that does not exist, or too many */
    AXR_IMAGE_OPERATION = 8,      /* an operation that this firmware does not execute */
    AXR_IMAGE_PARAMETER = 9,      /* a layer parameter outside of its range */
    AXR_IMAGE_SHAPE = 10,         /* the shapes of a layer do not agree with its parameters */
    AXR_IMAGE_CONSTANT = 11,      /* a layer's constants lie outside of the constant table */
    AXR_IMAGE_SCRATCH = 12,       /* a layer's scratch memory is too small or outside of the arena */
    AXR_IMAGE_ALIGNMENT = 13,     /* the image or the arena starts at an unaligned address */
    AXR_ARENA_TOO_SMALL = 14,     /* the firmware's arena is smaller than the model's plan */
    AXR_IMAGE_OVERLAP = 15,       /* an output or scratch area overlaps an operand of its layer */

    AXR_NO_MODEL = 32,     /* no model is open */
    AXR_NO_INPUT = 33,     /* no input was set since the last inference */
    AXR_NO_RESULT = 34,    /* no inference has finished since the input was set */
    AXR_INPUT_SIZE = 35,   /* the input has not the model's number of bytes */
    AXR_OUTPUT_INDEX = 36, /* the model has no output of this number */
    AXR_OUTPUT_SIZE = 37,  /* the buffer is too small for the output */
    AXR_BACKEND = 38,      /* the backend (NPU driver) reported a failure */

    AXR_LINK_SESSION = 64,   /* the frame belongs to no open session; the device may have restarted */
    AXR_LINK_KIND = 65,      /* a frame kind that this firmware does not know */
    AXR_LINK_SIZE = 66,      /* the body has not the size of its kind */
    AXR_LINK_ARGUMENT = 67,  /* a field is outside of its range */
    AXR_LINK_RANGE = 68,     /* nothing can be read there */
    AXR_LINK_STAGING = 69,   /* an input is larger than the memory that the build set aside */
    AXR_LINK_RESULTS = 70,   /* a result is larger than the memory that the build set aside */
    AXR_LINK_BAUD = 71,      /* the interface does not run at this rate */
    AXR_SLOT_NONE = 72,      /* this firmware has no such model slot */
    AXR_SLOT_SIZE = 73,      /* the model image does not fit into the slot */
    AXR_SLOT_ORDER = 74,     /* slot data without a begin, with a gap, or past the announced size */
    AXR_SLOT_CHECKSUM = 75,  /* the slot does not hold what the host sent */
    AXR_SLOT_DEVICE = 76,    /* the non-volatile memory refused to erase or write */
} axr_status_t;

#endif
