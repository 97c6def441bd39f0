/* The MLPerf Tiny text commands (docs/protocol.md). Uses the build's staging memory: first the item
 * as it was loaded, behind it the converted input. */
#ifndef AXR_MLPERF_H
#define AXR_MLPERF_H

/* Forget the loaded item and send the boot banner. */
void axr_mlperf_start(void);

/* The staging memory is wanted for something else: the loaded item is gone. */
void axr_mlperf_forget(void);

/* Execute one command (without its '%'; the text is changed) and send the whole reply. */
void axr_mlperf_command(char *text);

#endif
