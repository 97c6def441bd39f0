/*
 * Runs: a stream of inputs arrives in the staging memory, each is executed once (a number of laps),
 * and its result is kept until the host has confirmed it. Owns the build's staging and result
 * memory while a run is open; the MLPerf Tiny commands borrow the staging memory otherwise.
 */
#ifndef AXR_RUN_H
#define AXR_RUN_H

#include <stdbool.h>

#include "axr_protocol.h"
#include "axr_status.h"

void axr_run_start(void);

/* Forget the run: when the model changes and when a session ends. */
void axr_run_close(void);

/* Start a run unless it is this one or an older one. */
axr_status_t axr_run_open(const axr_infer_t *request);

/* Stream data and confirmations of run `request->run`; data of other runs is ignored. */
void axr_run_load(const axr_load_t *request, const uint8_t *data, uint32_t bytes);
void axr_run_resend(const axr_resend_t *request);

/* What PROGRESS says; the caller fills in `rejected`. */
axr_progress_t axr_run_progress(void);

/* Execute one lap when an input and room for its result are there. `between_layers` is called
 * after each layer and may call axr_run_load. True when there was work. */
bool axr_run_lap(void (*between_layers)(void));

/* Write the next part of the next unsent result (axr_result_t and data) to `body`, at most `room`
 * bytes; 0 when nothing is to be sent. */
uint32_t axr_run_next_result(uint8_t *body, uint32_t room);

/* Where READ finds the last input and its outputs; false when there is none. */
bool axr_run_last_input(const uint8_t **data, uint32_t *bytes);
bool axr_run_last_output(const uint8_t **data, uint32_t *bytes);

uint32_t axr_run_input_slots(void);
uint32_t axr_run_result_slots(void);
uint32_t axr_run_window(void);

typedef struct axr_run_counts {
    uint32_t duplicates;
    uint32_t gaps;
    uint32_t inferences;
    uint32_t results_sent;
} axr_run_counts_t;

const axr_run_counts_t *axr_run_counts(void);

#endif
