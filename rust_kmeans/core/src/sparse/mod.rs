//! Exact k-means on sparse rows, which are never made dense as a whole.
//!
//! Labels, sums and seeds are defined as for dense data, by float64 distances between the dense rows, and so are the same
//! bits as those of the dense data. What differs is the screening: a row costs one pass over its nonzeros with
//! all centers side by side ([`across`]), and whatever that cannot decide is decided by the definition, on one row made
//! dense.

mod across;
mod distance;
mod lloyd;
mod minibatch;
mod problem;
mod seeding;
mod view;

pub use lloyd::{sparse_inertia, sparse_predict};
pub use minibatch::sparse_minibatch_step;
pub use problem::SparseProblem;
pub use view::{Csr, Index};
