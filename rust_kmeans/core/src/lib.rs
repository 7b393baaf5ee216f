//! Exact k-means on dense and sparse data: the numerical core, without Python.
//!
//! *Exact* means three things, each tested beside the crate:
//!
//! - **Labels** are those of [`squared_distance`], a float64 distance with one fixed order of summation, from the
//!   samples as given to the centers as given; ties go to the lowest index. The vectorised kernel only *screens*: a
//!   rounding bound proves its answer, and every row it cannot prove is decided by [`squared_distance`] itself.
//! - **Sums** do not depend on order ([`exact_sum`]): centers and inertia are the same bits for any number of
//!   threads, block size, split of the rows and instruction set.
//! - **The loop** is that of scikit-learn's `KMeans(algorithm="lloyd")`: same relocation of empty clusters, same
//!   stopping rules.
//!
//! ```
//! use ndarray::array;
//! use rust_kmeans_core::{Params, Rows, lloyd};
//!
//! let data = array![[0.0_f32, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]];
//! let start = array![[0.0_f32, 0.0], [9.0, 9.0]];
//! let params = Params::default().check()?;
//! let fit = lloyd(Rows::new(data.view()), start.view(), None, &params, &mut || false)?;
//! assert_eq!(fit.labels, [0, 0, 1, 1]);
//! assert_eq!(fit.centers, array![[0.0_f32, 0.5], [9.0, 8.5]]);
//! assert!(fit.strict);
//! # Ok::<(), rust_kmeans_core::Error>(())
//! ```

mod assign;
mod block;
mod block_seeding;
mod bounds;
mod choice;
mod cpus;
mod element;
mod error;
pub mod exact_sum;
mod history;
mod interrupt;
mod kernel;
mod lloyd;
mod memory;
mod minibatch;
mod order;
mod oversampling;
mod params;
mod partial;
mod pool;
mod problem;
mod random;
mod sampler;
mod scale;
mod seeding;
mod sparse;
mod stream;
mod team;
mod update;
mod variance;
mod view;

pub use assign::{assign_block, inertia, predict, squared_distance};
pub use block::BlockRun;
pub use block_seeding::{BlockSearch, Level, block_heights, bucket_splits};
pub use element::Element;
pub use error::{Error, Result};
pub use history::History;
pub use interrupt::{Convergence, Interrupt, Iteration, Watch};
pub use kernel::Isa;
pub use lloyd::{Fit, lloyd};
pub use minibatch::{MiniBatchFit, Progress, Running, Schedule, Stop, minibatch_step};
pub use oversampling::{
    Drawing, Nearest, OVERSAMPLING, ROUNDS, choose_seeds, kmeans_parallel, row_at_weight,
    weight_of_rows,
};
pub use params::{Algorithm, Params, ValidParams};
pub use partial::{Partial, PartialParts};
pub use pool::{Pool, default_threads};
pub use problem::Problem;
pub use random::Random;
pub use sampler::Sampler;
pub use scale::Scale;
pub use seeding::{Seeder, Seeds, kmeans_plusplus, random_rows};
pub use sparse::{
    Csr, Index, SparseProblem, sparse_inertia, sparse_minibatch_step, sparse_predict,
};
pub use stream::{farthest_rows, next_centers};
pub use variance::{Moments, mean_variance};
pub use view::Rows;
