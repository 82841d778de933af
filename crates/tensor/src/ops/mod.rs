//! The op set, a file a family. Each file opens with the mathematics, the shapes, what one invocation owns, and the
//! cost; then parameters, shape rules, derivatives, and the methods users call.
//!
//! | file | ops | class | derivative |
//! |---|---|---|---|
//! | [`pointwise`] | arithmetic, exp, log, sqrt, abs, clamp, relu, leaky_relu, tanh, sigmoid, softplus, select, ... | pointwise | pointwise |
//! | [`reduce`] | sum, mean, max, pick, place | linear | broadcast, place, pick |
//! | [`view`] | reshape, permute, broadcast | linear | reshape, permute, sum |
//! | [`matmul`] | matmul | bilinear | matmul |
//! | [`conv2d`] | conv2d, conv2d_grad_input, conv2d_grad_weight, conv_transpose2d | trilinear | one another |
//! | [`pool2d`] | avg_pool2d, avg_pool2d_spread, max_pool2d, max_pool2d_pick, max_pool2d_place | linear (but max) | spread, avg; place, pick |
//! | [`resize`] | resize_nearest, resize_bilinear, and the fold of each | linear | fold, resize |
//! | [`pad`] | pad, crop, slice, reflect_pad2d, reflect_pad_fold | linear | crop, pad; fold, reflect |
//! | [`mod@concat`] | concat | linear | crop |
//! | [`pixel_shuffle`] | pixel_shuffle, pixel_unshuffle, by permute | linear | one another |
//! | [`gather`] | gather_rows, scatter_add_rows | linear | one another |
//! | [`norm`] | batch_norm, instance_norm, normalize | fused | norm_grad, or through its definition |
//! | [`norm_halves`] | norm_statistics, norm_apply, norm_grad_sums, norm_grad_apply | parts of norm and norm_grad | none |
//! | [`norm_over_ranks`] | batch_norm_over_ranks | fused | norm_grad's halves, or through its definition |
//! | [`all_reduce`] | all_reduce_sum | linear | itself |
//! | [`gradient_means`] | gradients over ranks, exchanged while they are computed | none | none |
//! | [`loss`] | bce_with_logits, cross_entropy_with_logits | fused; composed | pointwise |
//! | [`dropout`] | dropout | linear | itself |
//! | [`random`] | uniform, normal, bernoulli, integers, shuffled_indices | generators | none |
//! | [`finite`] | count_non_finite | watching | none |
//! | [`optimizer`] | adam, sgd, rmsprop, global_norm | updates | none |

pub mod all_reduce;
pub mod concat;
pub mod conv2d;
pub mod dropout;
pub mod finite;
pub mod gather;
pub mod gradient_means;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod norm_halves;
pub mod norm_over_ranks;
pub mod optimizer;
pub mod pad;
pub mod pixel_shuffle;
pub mod pointwise;
pub mod pool2d;
pub mod random;
pub mod reduce;
pub mod resize;
pub mod view;
