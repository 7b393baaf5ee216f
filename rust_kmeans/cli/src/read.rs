//! Reading .npy and .csv files, with errors that say where.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;
use std::str::FromStr;

use ndarray::Array2;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement, WritableElement};
use rust_kmeans_core::Element;

/// A type of data that files can hold.
pub(crate) trait Number:
    Element + ReadableElement + WritableElement + FromStr + std::fmt::Display
{
}

impl Number for f32 {}
impl Number for f64 {}

/// A matrix of one of the two types.
pub(crate) enum Data {
    Float32(Array2<f32>),
    Float64(Array2<f64>),
}

/// The samples.
pub(crate) fn read_data(path: &Path, csv_as_float32: bool) -> Result<Data, String> {
    let data = read_matrix(path, csv_as_float32)?;
    let (rows, columns) = match &data {
        Data::Float32(data) => data.dim(),
        Data::Float64(data) => data.dim(),
    };
    if rows == 0 || columns == 0 {
        return Err(format!(
            "no data ({}): at least one row and one column are needed",
            path.display()
        ));
    }
    Ok(data)
}

/// A matrix from a .npy or .csv file.
pub(crate) fn read_matrix(path: &Path, csv_as_float32: bool) -> Result<Data, String> {
    let file = File::open(path)
        .map_err(|error| format!("cannot open {}: {error}: check the path", path.display()))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => read_npy(path, file),
        Some("csv") if csv_as_float32 => read_csv(path, file).map(Data::Float32),
        Some("csv") => read_csv(path, file).map(Data::Float64),
        _ => Err(format!(
            "unknown kind of file {}: name it .npy or .csv",
            path.display()
        )),
    }
}

fn read_npy(path: &Path, file: File) -> Result<Data, String> {
    let mut reader = BufReader::new(file);
    let outcome = match Array2::<f32>::read_npy(&mut reader) {
        Ok(data) => return Ok(Data::Float32(data)),
        Err(ReadNpyError::WrongDescriptor(_)) => reader.rewind().map_err(ReadNpyError::from),
        Err(error) => Err(error),
    };
    let error = match outcome.and_then(|()| Array2::<f64>::read_npy(reader)) {
        Ok(data) => return Ok(Data::Float64(data)),
        Err(error) => error,
    };
    let path = path.display();
    Err(match error {
        ReadNpyError::WrongDescriptor(found) => {
            format!(
                "{path} holds numbers of type {found}: save it as float32 or float64 (X.astype(\"float32\"))"
            )
        }
        ReadNpyError::WrongNdim(_, found) => {
            format!("{path} has {found} dimensions: save an array of 2")
        }
        error => format!("cannot read {path}: {error}: save it again with numpy.save"),
    })
}

/// Numbers separated by commas; a first line in which no cell is a number is a header.
fn read_csv<T: Number>(path: &Path, file: File) -> Result<Array2<T>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(file);
    let mut values = Vec::new();
    let (mut rows, mut columns) = (0, None);
    let mut record = csv::StringRecord::new();
    let mut first = true;
    loop {
        let more = reader.read_record(&mut record).map_err(|error| {
            format!(
                "cannot read {}: {error}: save it as UTF-8 text with commas",
                path.display()
            )
        })?;
        if !more {
            break;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let expected = *columns.get_or_insert(record.len());
        if record.len() != expected {
            return Err(format!(
                "{} cells instead of {expected} in {}, line {line}: complete the line",
                record.len(),
                path.display()
            ));
        }
        if std::mem::take(&mut first) && record.iter().all(|cell| cell.parse::<T>().is_err()) {
            continue;
        }
        for (cell, column) in record.iter().zip(1..) {
            let value = cell.parse().map_err(|_| {
                let path = path.display();
                format!("{cell:?} is not a number in {path}, line {line}, column {column}: replace or drop it")
            })?;
            values.push(value);
        }
        rows += 1;
    }
    Array2::from_shape_vec((rows, columns.unwrap_or(0)), values)
        .map_err(|error| format!("cannot read {}: {error}: check its lines", path.display()))
}
