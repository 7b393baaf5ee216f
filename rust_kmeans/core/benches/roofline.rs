//! The dense kernel against the limits of the machine it runs on: fused multiply-adds a second, and bytes read a second,
//! both measured first. Run by `make roofline`; `ARGS="--quick"` takes a few cells.
//!
//! An iteration needs 2·n·d·k operations and reads n·d numbers, so that it takes no less than
//! max(2·n·d·k / peak, n·d·bytes / bandwidth). Its time is the difference between fits of 2 and of 6 iterations, in
//! which the check of the data, the first assignment and the last one cancel. The data are noise: many labels change,
//! as in the first iterations of a fit, and their sums with them.
//!
//! With AVX-512 VNNI many centers of wide rows are screened as bytes first, which multiply-adds do not bound: such a share may
//! be above 100 %. `RUST_KMEANS_ISA=avx512` measures the kernel for numbers of the data's type.
#![expect(clippy::print_stdout, reason = "a table is what it makes")]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use ndarray::ArrayView2;
use rust_kmeans_core::{Algorithm, Element, Isa, Params, Random, Rows, default_threads, lloyd};

const DIMS: [usize; 6] = [2, 10, 64, 128, 384, 784];
const CLUSTERS: [usize; 7] = [2, 8, 10, 30, 64, 256, 1000];
/// Seconds an iteration should take if it can.
const ITERATION: f64 = 0.06;
/// Of the fits whose difference is taken.
const ITERATIONS: (usize, usize) = (2, 6);
/// The share of a limit that is aimed at.
const TARGET: f64 = 0.75;
/// Sums a thread has under way at a time: enough to hide the latency of an addition, few enough for 16 registers.
const CHAINS: usize = 12;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            println!("error: {message}");
            std::process::exit(2);
        }
    };
    let cache = last_cache();
    let threads = options.threads;
    println!(
        "{threads} threads, last cache {} MiB; best of {}",
        cache >> 20,
        options.repeats
    );
    if let Some(load) = load_average().filter(|&load| load > 0.5) {
        println!("load average {load}: times below are those of a busy machine");
    }
    let isa = Isa::choose().expect("RUST_KMEANS_ISA names an instruction set of this machine");
    for one in Isa::available().into_iter().filter(|&one| one != isa) {
        print_peaks(one, [peak::<f32>(one, threads), peak::<f64>(one, threads)]);
    }
    let mut machine = Machine {
        isa,
        threads,
        cache,
        peaks: [0.0; 2],
        bandwidth: 0.0,
    };
    machine.measure();
    machine.print();
    let small = bandwidth(isa, threads, threads * (512 << 10), 200);
    println!("reading 512 KiB a thread: {:.1} GB/s", small / 1e9);
    println!("\nalgorithm=lloyd, {}", isa.name());
    println!(
        "{:>7} {:>4} {:>5} {:>9} {:>9} {:>8} {:>7} {:>9} {:>6}  bound by",
        "dtype", "d", "k", "n", "ms/iter", "GFLOP/s", "GB/s", "limit ms", "share"
    );
    let mut cells = Vec::new();
    measure_all::<f32>(&mut machine, &options, &mut cells);
    measure_all::<f64>(&mut machine, &options, &mut cells);
    println!("\nlimits, the best of measurements between the cells:");
    machine.print();
    report("of the FMA peak at d >= 64, k >= 64", &cells, |cell| {
        (cell.d >= 64 && cell.k >= 64).then(|| machine.least_seconds(cell).0 / cell.seconds)
    });
    report("of the bandwidth at k <= 8, d >= 10", &cells, |cell| {
        (cell.k <= 8 && cell.d >= 10).then(|| machine.least_seconds(cell).1 / cell.seconds)
    });
}

/// What is measured.
struct Options {
    threads: usize,
    repeats: usize,
    dims: Vec<usize>,
    clusters: Vec<usize>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            threads: default_threads(),
            repeats: 3,
            dims: DIMS.to_vec(),
            clusters: CLUSTERS.to_vec(),
        };
        while let Some(word) = words.next() {
            let mut numbers = || numbers(&word, words.next());
            match word.as_str() {
                // What `cargo bench` says to every benchmark.
                "--bench" => {}
                "--quick" => {
                    options.repeats = 2;
                    options.dims = vec![10, 128];
                    options.clusters = vec![8, 64];
                }
                "--threads" => options.threads = numbers()?[0],
                "--dims" => options.dims = numbers()?,
                "--clusters" => options.clusters = numbers()?,
                _ => {
                    return Err(format!(
                        "{word}: options are --quick, --threads N, --dims 10,64, --clusters 8,64"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Positive numbers separated by commas, one at least.
fn numbers(option: &str, text: Option<String>) -> Result<Vec<usize>, String> {
    text.unwrap_or_default()
        .split(',')
        .map(|number| match number.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{option}: {number:?} is not a positive number")),
        })
        .collect()
}

/// The limits, as far as they were seen.
struct Machine {
    isa: Isa,
    threads: usize,
    /// Bytes of the last cache.
    cache: usize,
    /// Operations a second, float32 and float64.
    peaks: [f64; 2],
    /// Bytes a second.
    bandwidth: f64,
}

impl Machine {
    /// Measures again and keeps the best: whatever else the machine does can only take from a limit.
    fn measure(&mut self) {
        let (isa, threads) = (self.isa, self.threads);
        let peaks = [peak::<f32>(isa, threads), peak::<f64>(isa, threads)];
        for (best, peak) in self.peaks.iter_mut().zip(peaks) {
            *best = best.max(peak);
        }
        let bytes = (8 * self.cache).max(256 << 20);
        self.bandwidth = self.bandwidth.max(bandwidth(isa, threads, bytes, 1));
    }

    fn print(&self) {
        print_peaks(self.isa, self.peaks);
        println!("reading memory: {:.1} GB/s", self.bandwidth / 1e9);
    }

    /// Of an iteration: for its operations, and for reading the samples.
    fn least_seconds(&self, cell: &Cell) -> (f64, f64) {
        let numbers = (cell.n * cell.d) as f64;
        let peak = self.peaks[usize::from(cell.bytes == size_of::<f64>())];
        (
            2.0 * numbers * cell.k as f64 / peak,
            numbers * cell.bytes as f64 / self.bandwidth,
        )
    }
}

fn print_peaks(isa: Isa, peaks: [f64; 2]) {
    println!(
        "multiply-adds, {}: {:.1} GFLOP/s float32, {:.1} float64",
        isa.name(),
        peaks[0] / 1e9,
        peaks[1] / 1e9
    );
}

/// One measurement.
struct Cell {
    n: usize,
    d: usize,
    k: usize,
    /// Of a number.
    bytes: usize,
    /// Of an iteration.
    seconds: f64,
}

fn measure_all<T: Element>(machine: &mut Machine, options: &Options, cells: &mut Vec<Cell>) {
    // Four times the cache: nothing of a sample is left there from the iteration before.
    let most = 4 * machine.cache / size_of::<T>();
    let mut random = Random::new(0);
    let noise: Vec<T> = (0..most).map(|_| T::from_f64(random.unit())).collect();
    for &d in &options.dims {
        machine.measure();
        for &k in &options.clusters {
            let mut cell = Cell {
                n: most / d,
                d,
                k,
                bytes: size_of::<T>(),
                seconds: f64::NAN,
            };
            let (compute, reading) = machine.least_seconds(&cell);
            let expected = compute.max(reading);
            if k > 8 && expected > ITERATION {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number of rows"
                )]
                let affordable = (cell.n as f64 * ITERATION / expected) as usize;
                cell.n = affordable;
            }
            let n = cell.n;
            if n < 10 * k {
                continue;
            }
            let data = ArrayView2::from_shape((n, d), &noise[..n * d]).expect("that many numbers");
            match seconds_an_iteration(data, k, machine.isa, options) {
                None => println!("{:>7} {d:>4} {k:>5} {n:>9} not measured", T::NAME),
                Some(seconds) => {
                    cell.seconds = seconds;
                    print_cell::<T>(&cell, machine);
                    cells.push(cell);
                }
            }
        }
    }
}

fn print_cell<T: Element>(cell: &Cell, machine: &Machine) {
    let Cell {
        n, d, k, seconds, ..
    } = *cell;
    let (compute, reading) = machine.least_seconds(cell);
    let limit = compute.max(reading);
    println!(
        "{:>7} {d:>4} {k:>5} {n:>9} {:>9.3} {:>8.1} {:>7.2} {:>9.3} {:>5.0}%  {}",
        T::NAME,
        seconds * 1e3,
        2.0 * (n * d * k) as f64 / seconds / 1e9,
        (n * d * size_of::<T>()) as f64 / seconds / 1e9,
        limit * 1e3,
        limit / seconds * 100.0,
        if compute > reading {
            "arithmetic"
        } else {
            "memory"
        }
    );
}

/// From fits that differ in their number of iterations alone; `None` if they converged before, or if what else the machine
/// did took longer than the iterations.
fn seconds_an_iteration<T: Element>(
    data: ArrayView2<'_, T>,
    k: usize,
    isa: Isa,
    options: &Options,
) -> Option<f64> {
    let start = data.slice(ndarray::s![..k, ..]);
    let fit = |max_iter| {
        let params = Params {
            max_iter,
            algorithm: Algorithm::Lloyd,
            n_threads: Some(options.threads),
            isa: Some(isa),
            ..Params::default()
        };
        let params = params.check().expect("valid parameters");
        let started = Instant::now();
        let fit = lloyd(Rows::new(data), start, None, &params, &mut || false).expect("finite data");
        (started.elapsed().as_secs_f64(), fit.n_iter == max_iter)
    };
    let (few, many) = ITERATIONS;
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..options.repeats {
        let ((short, _), (long, complete)) = (fit(few), fit(many));
        if !complete {
            return None;
        }
        best = (best.0.min(short), best.1.min(long));
    }
    let difference = best.1 - best.0;
    (difference > 0.0).then_some(difference / (many - few) as f64)
}

/// How many of the cells a target is meant for reach it.
fn report(what: &str, cells: &[Cell], share: impl Fn(&Cell) -> Option<f64>) {
    let shares: Vec<_> = cells.iter().filter_map(share).collect();
    let reached = shares.iter().filter(|&&share| share >= TARGET).count();
    let (least, most) = shares
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(a, b), &x| (a.min(x), b.max(x)));
    if shares.is_empty() {
        println!("{:.0} % {what}: not measured", TARGET * 100.0);
    } else {
        println!(
            "{:.0} % {what}: {reached} of {} cells, from {:.0} % to {:.0} %",
            TARGET * 100.0,
            shares.len(),
            least * 100.0,
            most * 100.0
        );
    }
}

/// Bytes of the last cache, where the system tells (Linux).
fn last_cache() -> usize {
    const ASSUMED: usize = 32 << 20;
    (0..8)
        .filter_map(|index| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
            let text = std::fs::read_to_string(path).ok()?;
            let kibibytes: usize = text.trim().strip_suffix('K')?.parse().ok()?;
            Some(kibibytes << 10)
        })
        .max()
        .unwrap_or(ASSUMED)
}

/// Of the last minute, where the system tells (Linux).
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Seconds until all threads have done their work, the best of several; `prepare` is not timed.
fn best_of_threads<S, P, W>(threads: usize, prepare: P, work: W) -> f64
where
    P: Fn() -> S + Sync,
    W: Fn(&mut S) + Sync,
{
    // Many and short, so that some fall between whatever else the machine does.
    const ROUNDS: usize = 100;
    let barrier = Barrier::new(threads);
    let times = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut state = prepare();
                    let mut times = [0.0; ROUNDS];
                    for time in &mut times {
                        barrier.wait();
                        let started = Instant::now();
                        work(&mut state);
                        barrier.wait();
                        *time = started.elapsed().as_secs_f64();
                    }
                    times
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("measuring does not panic"))
            .collect::<Vec<_>>()
    });
    // A round lasts as long as its slowest thread says.
    (0..ROUNDS)
        .map(|round| times.iter().map(|times| times[round]).fold(0.0, f64::max))
        .fold(f64::INFINITY, f64::min)
}

/// Operations a second of all threads together: chains of multiply-adds in registers.
fn peak<T: Chains>(isa: Isa, threads: usize) -> f64 {
    const ROUNDS: u64 = 1_000_000;
    let seconds = best_of_threads(
        threads,
        || (),
        |()| {
            T::run(isa, black_box(ROUNDS));
        },
    );
    let operations = 2 * T::lanes(isa) * CHAINS * threads;
    operations as f64 * ROUNDS as f64 / seconds
}

/// Bytes a second of all threads together, each reading its part of so many bytes `times` times.
fn bandwidth(isa: Isa, threads: usize, bytes: usize, times: usize) -> f64 {
    let words = bytes / threads / size_of::<u64>();
    let seconds = best_of_threads(
        threads,
        || vec![1_u64; words],
        |data| {
            for _ in 0..times {
                black_box(read(isa, black_box(data)));
            }
        },
    );
    (words * size_of::<u64>() * threads * times) as f64 / seconds
}

fn read(isa: Isa, data: &[u64]) -> u64 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` is one this machine has.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { x86::read_avx512(data) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` is one this machine has.
        Isa::Avx2 => unsafe { x86::read_avx2(data) },
        _ => read_all(data),
    }
}

/// Reads everything, several sums side by side.
#[inline(always)]
fn read_all(data: &[u64]) -> u64 {
    let (groups, _) = data.as_chunks::<64>();
    let mut sums = [0_u64; 64];
    for group in groups {
        for (sum, x) in sums.iter_mut().zip(group) {
            *sum ^= x;
        }
    }
    sums.iter().fold(0, |total, sum| total ^ sum)
}

/// A type of data with its multiply-adds for each instruction set.
trait Chains {
    /// Does [`CHAINS`] vector multiply-adds, none of which waits for another, so many times.
    fn run(isa: Isa, rounds: u64);
    /// Numbers in a vector.
    fn lanes(isa: Isa) -> usize;
}

/// Chains in plain Rust; what the compiler makes of them is what the scalar kernel can have.
macro_rules! plain {
    ($type:ty, $rounds:ident) => {{
        let (a, b): ($type, $type) = black_box((0.5, 0.25));
        let mut sums: [$type; 16 / size_of::<$type>() * CHAINS] =
            std::array::from_fn(|i| i as $type);
        for _ in 0..$rounds {
            for sum in &mut sums {
                *sum = *sum * a + b;
            }
        }
        black_box(sums);
    }};
}

/// [`Chains`] with functions of the vector instruction sets.
macro_rules! chains {
    ($type:ty, $avx512:ident, $avx2:ident, $neon:ident) => {
        impl Chains for $type {
            fn run(isa: Isa, rounds: u64) {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `isa` is one this machine has.
                    Isa::Avx512 | Isa::Avx512Vnni => unsafe { x86::$avx512(rounds) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `isa` is one this machine has.
                    Isa::Avx2 => unsafe { x86::$avx2(rounds) },
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: `isa` is one this machine has.
                    Isa::Neon => unsafe { arm::$neon(rounds) },
                    _ => plain!($type, rounds),
                }
            }

            fn lanes(isa: Isa) -> usize {
                let bytes = match isa {
                    Isa::Avx512 | Isa::Avx512Vnni => 64,
                    Isa::Avx2 => 32,
                    Isa::Neon | Isa::Scalar => 16,
                };
                bytes / size_of::<$type>()
            }
        }
    };
}

chains!(f32, avx512_f32, avx2_f32, neon_f32);
chains!(f64, avx512_f64, avx2_f64, neon_f64);

/// A function of chains for one vector type.
macro_rules! vector_chains {
    ($name:ident, $features:literal, $type:ty, $splat:ident, |$sum:ident, $a:ident, $b:ident| $step:expr) => {
        #[target_feature(enable = $features)]
        pub(crate) fn $name(rounds: u64) {
            let ($a, $b) = ($splat(black_box(0.5)), $splat(black_box(0.25)));
            // Different starts, or one chain would do for all.
            let mut sums: [_; CHAINS] = std::array::from_fn(|i| i as $type).map(|x| $splat(x));
            for _ in 0..rounds {
                for sum in &mut sums {
                    let $sum = *sum;
                    *sum = $step;
                }
            }
            black_box(sums);
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_set1_pd, _mm256_set1_ps, _mm512_fmadd_pd,
        _mm512_fmadd_ps, _mm512_set1_pd, _mm512_set1_ps,
    };
    use std::hint::black_box;

    use super::{CHAINS, read_all};

    vector_chains!(avx512_f32, "avx512f", f32, _mm512_set1_ps, |sum, a, b| {
        _mm512_fmadd_ps(sum, a, b)
    });
    vector_chains!(avx512_f64, "avx512f", f64, _mm512_set1_pd, |sum, a, b| {
        _mm512_fmadd_pd(sum, a, b)
    });
    vector_chains!(avx2_f32, "avx2,fma", f32, _mm256_set1_ps, |sum, a, b| {
        _mm256_fmadd_ps(sum, a, b)
    });
    vector_chains!(avx2_f64, "avx2,fma", f64, _mm256_set1_pd, |sum, a, b| {
        _mm256_fmadd_pd(sum, a, b)
    });

    #[target_feature(enable = "avx512f")]
    pub(crate) fn read_avx512(data: &[u64]) -> u64 {
        read_all(data)
    }

    #[target_feature(enable = "avx2")]
    pub(crate) fn read_avx2(data: &[u64]) -> u64 {
        read_all(data)
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::{vdupq_n_f32, vdupq_n_f64, vfmaq_f32, vfmaq_f64};
    use std::hint::black_box;

    use super::CHAINS;

    vector_chains!(neon_f32, "neon", f32, vdupq_n_f32, |sum, a, b| vfmaq_f32(
        b, sum, a
    ));
    vector_chains!(neon_f64, "neon", f64, vdupq_n_f64, |sum, a, b| vfmaq_f64(
        b, sum, a
    ));
}
