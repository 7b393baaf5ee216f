//! The binary, run: round trips, and refusals with exit status 2, one line of message and no output file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array1, Array2, ShapeBuilder, array};
use ndarray_npy::{read_npy, write_npy};
use serde_json::Value;

/// A folder of its own for a test, empty.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

fn kmeans(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kmeans"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn report(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Exit status 2, one line with all `parts`, nothing on standard output, no file but those that were there.
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let names = || -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    let before = names();
    let output = kmeans(folder, arguments);
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    assert!(
        message.starts_with("error: ") && message.lines().count() == 1,
        "{message}"
    );
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(names(), before);
}

fn samples() -> Array2<f32> {
    array![
        [1.0, 2.0],
        [1.0, 4.0],
        [1.0, 0.0],
        [10.0, 2.0],
        [10.0, 4.0],
        [10.0, 0.0]
    ]
}

#[test]
fn a_npy_file_gives_centers_labels_and_a_report() {
    let folder = folder("round_trip");
    write_npy(folder.join("x.npy"), &samples()).expect("written");
    write_npy(
        folder.join("start.npy"),
        &array![[0.0_f64, 0.0], [9.0, 9.0]],
    )
    .expect("written");
    let output = kmeans(
        &folder,
        &[
            "x.npy",
            "--k",
            "2",
            "--init",
            "start.npy",
            "--threads",
            "1",
            "--centers",
            "c.npy",
            "--labels",
            "l.npy",
        ],
    );
    let report = report(&output);
    assert_eq!(report["n_samples"], 6);
    assert_eq!(report["n_features"], 2);
    assert_eq!(report["n_clusters"], 2);
    assert_eq!(report["dtype"], "float32");
    assert_eq!(report["inertia"], 16.0);
    assert_eq!(report["n_threads"], 1);
    for key in ["n_iter", "read_seconds", "seeding_seconds", "fit_seconds"] {
        assert!(report[key].is_number(), "{key}");
    }
    for key in ["isa", "version", "algorithm"] {
        assert!(report[key].is_string(), "{key}");
    }
    assert!(report.get("peak_rss_bytes").is_some());
    let centers: Array2<f32> = read_npy(folder.join("c.npy")).expect("centers");
    assert_eq!(centers, array![[1.0, 2.0], [10.0, 2.0]]);
    let labels: Array1<i32> = read_npy(folder.join("l.npy")).expect("labels");
    assert_eq!(labels, array![0, 0, 0, 1, 1, 1]);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 4);
}

#[test]
fn fortran_order_and_float64_are_read() {
    let folder = folder("fortran");
    let mut data = Array2::<f64>::zeros((6, 2).f());
    data.assign(&samples().mapv(f64::from));
    write_npy(folder.join("x.npy"), &data).expect("written");
    for init in ["k-means++", "k-means||", "random"] {
        let report = report(&kmeans(
            &folder,
            &["x.npy", "--k", "2", "--init", init, "--seed", "4"],
        ));
        assert_eq!(report["dtype"], "float64");
    }
}

#[test]
fn a_csv_file_with_or_without_header_gives_the_same_centers() {
    let folder = folder("csv");
    let numbers = "1,2\n1,4\n1,0\n10,2\n10,4\n10,0\n";
    fs::write(folder.join("plain.csv"), numbers).expect("written");
    fs::write(
        folder.join("header.csv"),
        format!("width,height\n{numbers}"),
    )
    .expect("written");
    fs::write(folder.join("start.csv"), "0,0\n9,9\n").expect("written");
    for (data, dtype) in [("plain.csv", "float32"), ("header.csv", "float64")] {
        let arguments = [
            data,
            "--k",
            "2",
            "--init",
            "start.csv",
            "--dtype",
            dtype,
            "--centers",
            "c.csv",
        ];
        let report = report(&kmeans(&folder, &arguments));
        assert_eq!(report["n_samples"], 6);
        assert_eq!(report["dtype"], dtype);
        assert_eq!(
            fs::read_to_string(folder.join("c.csv")).expect("centers"),
            "1,2\n10,2\n"
        );
    }
}

#[test]
fn bad_files_are_refused() {
    let folder = folder("bad_files");
    let out = |data: &'static str| [data, "--k", "2", "--centers", "c.npy", "--labels", "l.npy"];
    refused(&folder, &out("absent.npy"), &["cannot open absent.npy"]);
    fs::write(folder.join("data.txt"), "1,2\n").expect("written");
    refused(&folder, &out("data.txt"), &["data.txt", ".npy or .csv"]);

    write_npy(folder.join("x.npy"), &samples()).expect("written");
    let whole = fs::read(folder.join("x.npy")).expect("read");
    fs::write(folder.join("cut.npy"), &whole[..whole.len() - 3]).expect("written");
    refused(&folder, &out("cut.npy"), &["cannot read cut.npy"]);
    fs::write(folder.join("noise.npy"), "not an array").expect("written");
    refused(&folder, &out("noise.npy"), &["cannot read noise.npy"]);
    write_npy(folder.join("ints.npy"), &array![[1_i64, 2], [3, 4]]).expect("written");
    refused(
        &folder,
        &out("ints.npy"),
        &["ints.npy", "i8", "float32 or float64"],
    );
    write_npy(folder.join("flat.npy"), &array![1.0_f32, 2.0]).expect("written");
    refused(&folder, &out("flat.npy"), &["flat.npy", "dimensions"]);

    fs::write(folder.join("text.csv"), "a,b\n1,2\n3,four\n").expect("written");
    refused(
        &folder,
        &out("text.csv"),
        &["\"four\"", "text.csv", "line 3, column 2"],
    );
    fs::write(folder.join("half_header.csv"), "1,b\n1,2\n").expect("written");
    refused(
        &folder,
        &out("half_header.csv"),
        &["\"b\"", "line 1, column 2"],
    );
    fs::write(folder.join("short.csv"), "1,2\n3\n").expect("written");
    refused(
        &folder,
        &out("short.csv"),
        &["1 cells instead of 2", "line 2"],
    );
    fs::write(folder.join("empty.csv"), "").expect("written");
    refused(&folder, &out("empty.csv"), &["no data", "empty.csv"]);
}

#[test]
fn bad_values_are_refused() {
    let folder = folder("bad_values");
    write_npy(folder.join("x.npy"), &samples()).expect("written");
    let mut data = samples();
    data[(4, 1)] = f32::NAN;
    write_npy(folder.join("nan.npy"), &data).expect("written");
    refused(
        &folder,
        &["nan.npy", "--k", "2", "--centers", "c.npy"],
        &["NaN", "row 4, column 1", "nan.npy"],
    );
    refused(
        &folder,
        &["x.npy", "--k", "7", "--centers", "c.npy"],
        &["n_samples=6", "n_clusters=7"],
    );
    refused(
        &folder,
        &["x.npy", "--k", "0", "--centers", "c.npy"],
        &["n_clusters"],
    );
    refused(&folder, &["x.npy", "--k", "2", "--tol", "nan"], &["tol"]);
    refused(
        &folder,
        &["x.npy", "--k", "2", "--threads", "0"],
        &["n_threads"],
    );
    refused(
        &folder,
        &["x.npy", "--k", "3", "--init", "x.npy"],
        &["6 rows", "3"],
    );
    refused(
        &folder,
        &["x.npy", "--k", "2", "--centers", "absent/c.npy"],
        &["no folder"],
    );
    refused(
        &folder,
        &["x.npy", "--k", "2", "--labels", "l.csv"],
        &["l.csv", ".npy"],
    );
}

#[test]
fn wrong_usage_exits_with_2_too() {
    let folder = folder("usage");
    assert_eq!(kmeans(&folder, &["x.npy"]).status.code(), Some(2));
}

#[test]
fn outputs_never_replace_a_folder_the_data_or_each_other() {
    let folder = folder("collisions");
    write_npy(folder.join("data.npy"), &samples()).expect("data");
    fs::create_dir(folder.join("taken.npy")).expect("a folder");
    let run = |more: &[&str], part: &str| {
        let mut arguments = vec!["data.npy", "--k", "2", "--centers"];
        arguments.extend(more);
        refused(&folder, &arguments, &[part]);
    };
    run(&["c.npy", "--labels", "taken.npy"], "it is a folder");
    run(&["same.npy", "--labels", "./same.npy"], "has that name");
    run(&["data.npy"], "has that name");
    let data: Array2<f32> = read_npy(folder.join("data.npy")).expect("data");
    assert_eq!(data, samples());
}

#[test]
fn mistyped_flags_are_one_line_too() {
    let folder = folder("mistyped");
    refused(&folder, &["data.npy", "--k", "abc"], &["'abc'", "--k"]);
    refused(&folder, &["data.npy"], &["--k", "kmeans --help"]);
    refused(
        &folder,
        &["data.npy", "--k", "2", "--thraeds", "1"],
        &["--thraeds"],
    );
    refused(
        &folder,
        &["data.npy", "--k", "2", "--threads", "100000"],
        &["n_threads", "1024"],
    );
    assert!(kmeans(&folder, &["--help"]).status.success());
    assert!(kmeans(&folder, &["--version"]).status.success());
}
