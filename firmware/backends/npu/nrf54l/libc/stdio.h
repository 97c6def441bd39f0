/* Nordic's driver includes <stdio.h> and prints through its platform instead. */
#ifndef AXR_STDIO_H
#define AXR_STDIO_H

#include <stddef.h>

#endif
