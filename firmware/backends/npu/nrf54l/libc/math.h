/* The part of the C library's <math.h> that Nordic's driver uses; see ../math.c. */
#ifndef AXR_MATH_H
#define AXR_MATH_H

double exp(double argument);
float expf(float argument);
double round(double value);
float roundf(float value);

#endif
