//! The tests of the core, in one program: compiling the kernel into one for each file would take minutes.

mod block;
mod bounds;
mod common;
mod errors;
mod exact_sum;
mod fit;
mod invariance;
mod labels;
mod minibatch;
mod seeding;
mod sparse;
mod stream;
mod together;
mod watch;
