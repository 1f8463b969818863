//! Following on a terminal: a table that renews itself every second.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Style, Stylize as _},
    text::{Line, Text},
    widgets::{Cell, Paragraph, Row, Table},
};

use super::{
    api::{Direction, Live},
    follow::{Display, Picture},
    units::{bits_per_second, bytes, clock, scaled},
};

/// The terminal while it shows the view; dropping it gives it back as it was, also in a panic.
pub struct View {
    terminal: DefaultTerminal,
}

impl View {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it is none.
    pub fn open() -> Result<Self> {
        let terminal = ratatui::try_init().context("cannot take over the terminal")?;
        Ok(Self { terminal })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Display for View {
    fn show(&mut self, picture: &Picture) -> Result<()> {
        self.terminal.draw(|frame| draw(frame, picture))?;
        Ok(())
    }

    /// The terminal is in raw mode: Ctrl-C is a key, not a signal.
    fn wait_for_stop(&mut self, pause: Duration) -> Result<bool> {
        if !event::poll(pause)? {
            return Ok(false);
        }
        let Event::Key(key) = event::read()? else {
            return Ok(false);
        };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        Ok(key.kind == KeyEventKind::Press
            && match key.code {
                KeyCode::Char('c') => control,
                KeyCode::Char('q') => true,
                _ => false,
            })
    }
}

fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let footer_lines = picture.addresses.len() as u16 + 1;
    let [header, body, counts, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(4),
        Constraint::Length(footer_lines),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(title(picture)), header);
    match &picture.live {
        Ok(live) => {
            frame.render_widget(interfaces(live, body.height), body);
            frame.render_widget(Paragraph::new(totals(live)), counts);
        }
        Err(reason) => frame.render_widget(Paragraph::new(reason.as_str().dim()), body),
    }
    let mut lines: Vec<Line<'_>> = picture
        .addresses
        .iter()
        .map(|(name, address)| Line::from(vec![format!("{name:<8}").dim(), address.into()]))
        .collect();
    lines.push("Ctrl-C or q stops everything".dim().into());
    frame.render_widget(Paragraph::new(Text::from(lines)), footer);
}

fn title(picture: &Picture) -> Line<'static> {
    let mut parts = vec![
        "netmon".bold(),
        format!("  running for {}", clock(picture.elapsed)).into(),
    ];
    if let Some(remaining) = picture.remaining {
        parts.push(format!(", {} left", clock(remaining)).into());
    }
    Line::from(parts)
}

fn interfaces(live: &Live, height: u16) -> Table<'_> {
    const HEADINGS: [&str; 7] = [
        "interface",
        "down",
        "packets/s",
        "average",
        "up",
        "packets/s",
        "average",
    ];
    let heading = Row::new(HEADINGS.map(right_but_first())).style(Style::new().bold());
    // The busiest first, since not all may fit.
    let mut sorted: Vec<_> = live.interfaces.iter().collect();
    let load = |direction: &Direction| direction.bits_per_second.unwrap_or(0.0);
    sorted.sort_by(|a, b| {
        let (a_load, b_load) = (
            load(&a.ingress) + load(&a.egress),
            load(&b.ingress) + load(&b.egress),
        );
        b_load.total_cmp(&a_load).then_with(|| a.name.cmp(&b.name))
    });
    let room = usize::from(height.saturating_sub(2));
    let hidden = sorted.len().saturating_sub(room);
    let mut rows: Vec<Row<'_>> = sorted
        .iter()
        .take(room)
        .map(|interface| {
            let mut cells = vec![Cell::from(interface.name.as_str())];
            cells.extend(columns(&interface.ingress));
            cells.extend(columns(&interface.egress));
            Row::new(cells)
        })
        .collect();
    if hidden > 0 {
        rows.push(Row::new([format!("… and {hidden} more")]));
    }
    let widths = [
        Constraint::Max(16),
        Constraint::Length(13),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(13),
        Constraint::Length(10),
        Constraint::Length(9),
    ];
    Table::new(rows, widths).header(heading)
}

/// Numbers stand under each other by their last digit, and so do their headings.
fn right_but_first() -> impl FnMut(&'static str) -> Cell<'static> {
    let mut first = true;
    move |heading| {
        let line = Line::from(heading);
        Cell::from(if std::mem::take(&mut first) {
            line
        } else {
            line.right_aligned()
        })
    }
}

fn columns(direction: &Direction) -> [Cell<'static>; 3] {
    let average = match direction.average_packet_bytes {
        Some(bytes) => format!("{bytes:.0} B"),
        None => "-".to_owned(),
    };
    [
        bits_per_second(direction.bits_per_second.unwrap_or(0.0)),
        scaled(direction.packets_per_second.unwrap_or(0.0)),
        average,
    ]
    .map(|text| Cell::from(Line::from(text).right_aligned()))
}

fn totals(live: &Live) -> Text<'static> {
    let losses: Vec<String> = live
        .losses
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let losses = if losses.is_empty() {
        "none".to_owned()
    } else {
        losses.join(", ")
    };
    Text::from(vec![
        Line::from(format!(
            "NTP      {} exchanges, {} unanswered",
            live.ntp.exchanges_total, live.ntp.unanswered_total
        )),
        Line::from(format!("losses   {losses}")),
        Line::from(format!(
            "spool    {} batches, {} wait for the server",
            live.outbox.batches,
            bytes(live.outbox.bytes as f64)
        )),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::up::api::Interface;

    fn screen(picture: &Picture, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, picture)).unwrap();
        terminal.backend().to_string()
    }

    fn picture(names: &[&str]) -> Picture {
        let interface = |name: &&str| Interface {
            name: (*name).to_owned(),
            ingress: Direction {
                bits_per_second: Some(2_500_000.0),
                packets_per_second: Some(312.0),
                average_packet_bytes: Some(1001.6),
            },
            egress: Direction::default(),
        };
        let mut live = Live {
            interfaces: names.iter().map(interface).collect(),
            ..Live::default()
        };
        live.ntp.exchanges_total = 42;
        live.losses.insert("ring_full".to_owned(), 3);
        Picture {
            elapsed: Duration::from_secs(61),
            remaining: None,
            live: Ok(live),
            addresses: vec![("docs", "http://127.0.0.1:8080/api/docs".to_owned())],
        }
    }

    #[test]
    fn rates_exchanges_losses_and_addresses_are_on_the_screen() {
        let screen = screen(&picture(&["eth0"]), 100, 16);
        let wanted = [
            "running for 1:01",
            "eth0",
            "2.50 Mbit/s",
            "312",
            "1002 B",
            "42 exchanges",
            "ring_full 3",
            "http://127.0.0.1:8080/api/docs",
            "Ctrl-C",
        ];
        for text in wanted {
            assert!(screen.contains(text), "{text} is not on\n{screen}");
        }
    }

    #[test]
    fn interfaces_that_do_not_fit_are_counted() {
        let names: Vec<String> = (0..40).map(|number| format!("veth{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let screen = screen(&picture(&names), 100, 16);
        assert!(screen.contains("… and "), "{screen}");
    }

    #[test]
    fn a_tiny_terminal_is_drawn_without_a_panic() {
        for (width, height) in [(1, 1), (10, 3), (20, 5)] {
            screen(&picture(&["eth0", "eth1"]), width, height);
        }
    }
}
