// All fused ops as one unit: TensorFlow's headers take longer to compile than everything in these files.
#include "ops_attention.inc"
#include "ops_linear.inc"
#include "ops_norm.inc"
#include "ops_pointwise.inc"
#include "ops_training.inc"
