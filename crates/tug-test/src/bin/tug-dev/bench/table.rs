//! The table at the end.

use super::clock::Times;
use super::engine::Engine;

/// What was promised of a row.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// At most so much.
    Value(f64),
    /// At most so many times what stands beside it.
    Ratio(f64),
    /// Either.
    ValueOrRatio(f64, f64),
    /// At least so many times what stands beside it: a rate.
    RatioAtLeast(f64),
}

pub(crate) struct Table {
    names: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(engines: &[Engine]) -> Self {
        let names: Vec<_> = engines.iter().map(|engine| engine.name).collect();
        let mut head = ["", "tug (mean)", "(median)", "beside", "ratio", "promised", ""]
            .map(str::to_owned)
            .to_vec();
        head.extend(names.iter().skip(1).map(ToString::to_string));
        Self { names, rows: vec![head] }
    }

    /// Adds a row and shows it at once. `values` are tug's and then the others', `beside` what
    /// tug's is compared with.
    pub(crate) fn row(
        &mut self,
        name: &str,
        unit: &str,
        values: &[Times],
        beside: Option<(&str, f64)>,
        limit: Limit,
    ) {
        let mean = values[0].mean();
        // Times have no outliers worth hiding; a rate has them whenever the disk is busy.
        let typical = match limit {
            Limit::RatioAtLeast(_) => values[0].median(),
            _ => mean,
        };
        let ratio = beside.map(|(_, other)| typical / other);
        let (promised, kept) = match limit {
            Limit::Value(most) => (format!("<= {most} {unit}"), mean <= most),
            Limit::Ratio(most) => (format!("<= {most} x"), ratio.is_some_and(|r| r <= most)),
            Limit::ValueOrRatio(most, times) => (
                format!("<= {most} {unit} or {times} x"),
                mean <= most || ratio.is_some_and(|r| r <= times),
            ),
            Limit::RatioAtLeast(least) => {
                (format!(">= {least} x"), ratio.is_some_and(|r| r >= least))
            }
        };
        let mut row = vec![
            name.to_owned(),
            format!("{mean:.2} {unit}"),
            format!("{:.2}", values[0].median()),
            beside.map_or_else(String::new, |(what, other)| format!("{what} {other:.2}")),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} x")),
            promised,
            if kept { "kept" } else { "NOT KEPT" }.to_owned(),
        ];
        row.extend(values.iter().skip(1).map(|times| format!("{:.2} {unit}", times.mean())));
        eprintln!("{}", row.join("  "));
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        let columns = 7 + self.names.len() - 1;
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        println!();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}
