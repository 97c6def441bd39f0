/* The functions of <math.h> that Nordic's CPU operations call. Owns nothing. */
#include <math.h>

#include "exponential.h"

/* Arguments are whole 4096ths, -16 to 16: sigmoid takes the exponential of a q3.12 number, tanh of
 * twice one. */
float expf(float argument)
{
    return axr_exp_float((int32_t)(argument * 4096.0f));
}

/* Sigmoid's is rounded to a float at once. */
double exp(double argument)
{
    return (double)expf((float)argument);
}

/* Halves away from zero. */
float roundf(float value)
{
    float rounded;
    __asm("vrinta.f32 %0, %1" : "=t"(rounded) : "t"(value));
    return rounded;
}

/* Its argument is the product of two floats, rounded to a float. */
double round(double value)
{
    return (double)roundf((float)value);
}
