/* The part of the C library's <assert.h> that generated models use. */
#ifndef AXR_ASSERT_H
#define AXR_ASSERT_H

#define static_assert _Static_assert

#endif
