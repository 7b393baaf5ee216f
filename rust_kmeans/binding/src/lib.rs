//! `rust_kmeans._core`: the numerical core as Python sees it. Types are in `_core.pyi`; what `rust_kmeans` exports has its
//! docstring here.

#![expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "docstrings of Python are in numpydoc's form"
)]

mod arrays;
mod block;
mod block_seeding;
mod fits;
mod functions;
mod mersenne;
mod minibatch;
mod partial;
mod plain;
mod run;
mod sparse;
mod stream;

use pyo3::pymodule;

/// Exact k-means; use `rust_kmeans` rather than this module.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::block::{BlockRun, History};
    #[pymodule_export]
    use super::block_seeding::{BlockSearch, Nearest, Random, block_heights, bucket_splits};
    #[pymodule_export]
    use super::functions::{
        assign_block, block_scale, choose_seeds, fit, inertia, kernel_info, kmeans_plusplus, lloyd,
        mean_variance, predict, random_rows,
    };
    #[pymodule_export]
    use super::mersenne::seeds;
    #[pymodule_export]
    use super::minibatch::{Sampler, minibatch_fit, minibatch_step, sampler};
    #[pymodule_export]
    use super::partial::{Partial, Scale};
    #[pymodule_export]
    use super::plain::plain_fit;
    #[pymodule_export]
    use super::sparse::{
        sparse_fit, sparse_inertia, sparse_kmeans_plusplus, sparse_minibatch_fit,
        sparse_minibatch_step, sparse_predict, sparse_sampler,
    };
    #[pymodule_export]
    use super::stream::{Moments, farthest_rows, next_centers};

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
