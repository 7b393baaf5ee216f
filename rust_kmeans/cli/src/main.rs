//! `kmeans`: a data file in, centers out, one line of JSON about the run.

mod output;
mod read;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use ndarray::Array2;
use rust_kmeans_core::{
    Algorithm, Element, Error, Params, Rows, ValidParams, kmeans_parallel, kmeans_plusplus, lloyd,
    random_rows,
};
use serde_json::{Value, json};

use crate::output::Output;
use crate::read::{Data, Number, read_data, read_matrix};

const ABOUT: &str = "Exact k-means on a .npy or .csv file";

const LONG_ABOUT: &str = "Exact k-means on a .npy or .csv file

Prints one line of JSON: n_samples, n_features, n_clusters, dtype, n_iter, inertia, algorithm, read_seconds, seeding_seconds,
fit_seconds, n_threads, isa, version, peak_rss_bytes. fit_seconds is the time of Lloyd's iterations alone, with the
check of the data and the final labels, without reading and seeding. Errors are one line on standard error, exit
status 2, and leave no output file.";

/// The command line; its help is the program's manual.
#[derive(Parser)]
#[command(name = "kmeans", version, about = ABOUT, long_about = LONG_ABOUT)]
struct Arguments {
    /// Samples, one a row: .npy of float32 or float64 in C or Fortran order (other types are refused), or .csv with
    /// commas; a first line in which no cell is a number is a header
    data: PathBuf,
    /// Number of clusters
    #[arg(long, value_name = "K")]
    k: usize,
    /// Starting centers: k-means++, k-means||, random (distinct samples), or a .npy or .csv file of K rows, rounded to the type of
    /// the data
    #[arg(long, default_value = "k-means++")]
    init: String,
    /// Most iterations
    #[arg(long, value_name = "N", default_value_t = 300)]
    max_iter: usize,
    /// Stop when the summed squared shift of the centers is at most this, in squared units of the data; 0 stops when no
    /// label changes
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    tol: f64,
    /// Threads; without it what the variable `RAYON_NUM_THREADS` says, or all CPUs at hand, but no more than
    /// `OMP_NUM_THREADS`; results do not depend on it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How labels are found; results do not depend on it
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    algorithm: Method,
    /// Seed of the starting centers
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Write the centers to this .npy or .csv file
    #[arg(long, value_name = "FILE")]
    centers: Option<PathBuf>,
    /// Write the labels (int32) to this .npy file
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Type of the numbers of a .csv file
    #[arg(long, value_enum, default_value_t = Dtype::Float64)]
    dtype: Dtype,
}

/// Type of the data.
#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    /// 32 bits
    Float32,
    /// 64 bits
    Float64,
}

/// How labels are found.
#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// Whichever is faster, chosen for each iteration
    Auto,
    /// Distances to all centers for every sample
    Lloyd,
    /// Samples whose label bounds prove are skipped
    Hamerly,
    /// The same, others compared with groups of centers that bounds do not exclude
    Yinyang,
}

impl From<Method> for Algorithm {
    fn from(method: Method) -> Self {
        match method {
            Method::Auto => Self::Auto,
            Method::Lloyd => Self::Lloyd,
            Method::Hamerly => Self::Hamerly,
            Method::Yinyang => Self::Yinyang,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(&arguments).map(|report| report.to_string()),
        Err(asked) if !asked.use_stderr() => Ok(asked.to_string().trim_end().to_owned()),
        Err(mistake) => Err(first_paragraph(&mistake.to_string())),
    };
    let outcome = outcome.and_then(|text| {
        writeln!(std::io::stdout(), "{text}")
            .map_err(|error| format!("cannot write to standard output: {error}"))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // If standard error is closed as well, the exit status still tells.
            drop(writeln!(
                std::io::stderr(),
                "error: {}",
                message.replace('\n', " ")
            ));
            ExitCode::from(2)
        }
    }
}

/// What clap says of a mistake, without the usage and the hints below, on one line.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    format!("{}; see kmeans --help", words.join(" "))
}

fn run(arguments: &Arguments) -> Result<Value, String> {
    let params = Params {
        max_iter: arguments.max_iter,
        tol: arguments.tol,
        algorithm: arguments.algorithm.into(),
        spherical: false,
        n_threads: arguments.threads,
        isa: None,
    };
    let params = params.check().map_err(|error| error.to_string())?;
    refuse_equal_paths(arguments)?;
    let outputs = (
        arguments
            .centers
            .as_deref()
            .map(Output::centers)
            .transpose()?,
        arguments
            .labels
            .as_deref()
            .map(Output::labels)
            .transpose()?,
    );
    let started = Instant::now();
    let data = read_data(&arguments.data, matches!(arguments.dtype, Dtype::Float32))?;
    let read_seconds = started.elapsed().as_secs_f64();
    match data {
        Data::Float32(data) => fit(arguments, &data, &params, outputs, read_seconds),
        Data::Float64(data) => fit(arguments, &data, &params, outputs, read_seconds),
    }
}

/// Refuses an output that would replace the data or another output.
fn refuse_equal_paths(arguments: &Arguments) -> Result<(), String> {
    let init = Path::new(&arguments.init);
    let named = [
        Some(arguments.data.as_path()),
        Some(init),
        arguments.centers.as_deref(),
        arguments.labels.as_deref(),
    ];
    let absolute = |path: &Path| {
        path.canonicalize()
            .or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.to_owned())
    };
    for (at, output) in named.iter().enumerate().skip(2) {
        let Some(output) = output else { continue };
        if named[..at]
            .iter()
            .flatten()
            .any(|other| absolute(other) == absolute(output))
        {
            return Err(format!(
                "cannot write {}: another file of this command has that name: choose another place",
                output.display()
            ));
        }
    }
    Ok(())
}

fn fit<T: Number>(
    arguments: &Arguments,
    data: &Array2<T>,
    params: &ValidParams,
    (centers_out, labels_out): (Option<Output>, Option<Output>),
    read_seconds: f64,
) -> Result<Value, String> {
    let at = |error: Error| format!("{error} (data: {})", arguments.data.display());
    let started = Instant::now();
    let start = starting_centers(arguments, data, params)?;
    let seeding_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let fit = lloyd(
        Rows::new(data.view()),
        start.view(),
        None,
        params,
        &mut || false,
    )
    .map_err(at)?;
    let fit_seconds = started.elapsed().as_secs_f64();

    let centers = centers_out
        .map(|output| output.write_matrix(&fit.centers))
        .transpose()?;
    let labels = labels_out
        .map(|output| output.write_labels(fit.labels))
        .transpose()?;
    for written in [centers, labels].into_iter().flatten() {
        written.publish()?;
    }
    Ok(json!({
        "n_samples": data.nrows(),
        "n_features": data.ncols(),
        "n_clusters": arguments.k,
        "dtype": T::NAME,
        "n_iter": fit.n_iter,
        "inertia": fit.inertia,
        "algorithm": fit.algorithm.name(),
        "read_seconds": read_seconds,
        "seeding_seconds": seeding_seconds,
        "fit_seconds": fit_seconds,
        "n_threads": params.n_threads(),
        "isa": params.isa().name(),
        "version": env!("CARGO_PKG_VERSION"),
        "peak_rss_bytes": peak_rss_bytes(),
    }))
}

fn starting_centers<T: Number>(
    arguments: &Arguments,
    data: &Array2<T>,
    params: &ValidParams,
) -> Result<Array2<T>, String> {
    let rows = Rows::new(data.view());
    let seeds = match arguments.init.as_str() {
        "k-means++" => kmeans_plusplus(
            rows,
            arguments.k,
            None,
            arguments.seed,
            None,
            params,
            &mut || false,
        ),
        "k-means||" => {
            kmeans_parallel(rows, arguments.k, None, arguments.seed, params, &mut || {
                false
            })
        }
        "random" => random_rows(rows, arguments.k, None, arguments.seed),
        path => {
            let centers: Array2<f64> = match read_matrix(Path::new(path), false)? {
                Data::Float32(centers) => centers.mapv(f64::from),
                Data::Float64(centers) => centers,
            };
            return if centers.nrows() == arguments.k {
                Ok(centers.mapv(<T as Element>::from_f64))
            } else {
                Err(format!(
                    "--init has {} rows, --k is {} ({path}): give as many rows as clusters",
                    centers.nrows(),
                    arguments.k
                ))
            };
        }
    };
    seeds
        .map(|seeds| seeds.centers)
        .map_err(|error| format!("{error} (data: {})", arguments.data.display()))
}

/// The peak resident set of this process, where the system tells (Linux).
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
