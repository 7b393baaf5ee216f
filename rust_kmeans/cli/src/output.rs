//! Output files: complete or absent.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use ndarray_npy::{WritableElement, WriteNpyExt};

use crate::read::Number;

/// A file to be written under a temporary name beside its own.
pub(crate) struct Output {
    path: PathBuf,
    temporary: PathBuf,
    csv: bool,
}

/// A file written completely, not yet under its name; removed if it is never published.
pub(crate) struct Written {
    path: PathBuf,
    temporary: PathBuf,
}

impl Output {
    /// For centers, .npy or .csv.
    pub(crate) fn centers(path: &Path) -> Result<Self, String> {
        Self::new(path, &["npy", "csv"])
    }

    /// For labels, .npy.
    pub(crate) fn labels(path: &Path) -> Result<Self, String> {
        Self::new(path, &["npy"])
    }

    fn new(path: &Path, extensions: &[&str]) -> Result<Self, String> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let Some(name) = path.file_name().filter(|_| extensions.contains(&extension)) else {
            return Err(format!(
                "cannot write {}: name it .{}",
                path.display(),
                extensions.join(" or .")
            ));
        };
        if path.is_dir() {
            return Err(format!(
                "cannot write {}: it is a folder: choose another place",
                path.display()
            ));
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let folder = temporary
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(format!(
                "cannot write {}: there is no folder {}: create it",
                path.display(),
                folder.display()
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            temporary,
            csv: extension == "csv",
        })
    }

    /// Writes a matrix.
    pub(crate) fn write_matrix<T: Number>(self, matrix: &Array2<T>) -> Result<Written, String> {
        let csv = self.csv;
        self.write(|file| {
            if csv {
                write_csv(file, matrix)
            } else {
                write_npy(file, matrix)
            }
        })
    }

    /// Writes labels.
    pub(crate) fn write_labels(self, labels: Vec<i32>) -> Result<Written, String> {
        self.write(|file| write_npy(file, &Array1::from(labels)))
    }

    fn write(
        self,
        fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), String>,
    ) -> Result<Written, String> {
        let written = Written {
            path: self.path,
            temporary: self.temporary,
        };
        let failed = |error: String| {
            format!(
                "cannot write {}: {error}: choose another place",
                written.path.display()
            )
        };
        let file = File::create(&written.temporary).map_err(|error| failed(error.to_string()))?;
        let mut file = BufWriter::new(file);
        fill(&mut file).map_err(failed)?;
        let file = file
            .into_inner()
            .map_err(|error| failed(error.to_string()))?;
        file.sync_all().map_err(|error| failed(error.to_string()))?;
        Ok(written)
    }
}

impl Written {
    /// Gives the file its name.
    pub(crate) fn publish(self) -> Result<(), String> {
        fs::rename(&self.temporary, &self.path).map_err(|error| {
            format!(
                "cannot write {}: {error}: choose another place",
                self.path.display()
            )
        })
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // After publishing there is nothing left to remove, and before it a failure has been reported already.
        drop(fs::remove_file(&self.temporary));
    }
}

fn write_npy<T, D>(file: &mut BufWriter<File>, array: &ndarray::Array<T, D>) -> Result<(), String>
where
    T: WritableElement,
    D: ndarray::Dimension,
{
    array.write_npy(file).map_err(|error| error.to_string())
}

/// Shortest decimal numbers that read back as the same floats.
fn write_csv<T: Number>(file: &mut BufWriter<File>, matrix: &Array2<T>) -> Result<(), String> {
    for row in matrix.rows() {
        let cells: Vec<_> = row.iter().map(ToString::to_string).collect();
        writeln!(file, "{}", cells.join(",")).map_err(|error| error.to_string())?;
    }
    Ok(())
}
