//! All the people, at tables of two to four: each table is one meeting after another.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::books::Books;
use super::caller::Caller;
use super::person::{Person, Role, Visit};
use super::room::Room;
use crate::model::Draws;
use crate::runtime::Tasks;

/// People at one table.
const SEATS: std::ops::RangeInclusive<usize> = 2..=4;

/// Shortest time of a meeting, and what may come on top.
const STAY: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(22));

/// Longest time before a participant joins.
const JOINS_WITHIN: Duration = Duration::from_secs(3);

/// Meetings in a row that have the same name, and so may come to the same pin.
const SAME_NAME: usize = 2;

/// Starts everybody, as tasks that end some time after the stop of `tasks`.
pub(super) fn start(
    sessions: u32,
    edge: SocketAddr,
    (books, draws): (&Books, &mut Draws),
    tasks: &Tasks,
) {
    let mut first = 0;
    while first < sessions {
        let left = sessions - first;
        let seats = draw_seats(left, draws);
        let mut people = Vec::new();
        for number in first..first + seats {
            let of_caller = (books.clone(), Draws::seeded(draws.next()));
            let caller = Caller::new(number, edge, of_caller, tasks.stop_token());
            people.push(Person::new(caller, books.clone(), Draws::seeded(draws.next())));
        }
        let draws = Draws::seeded(draws.next());
        let table = Table { number: first, people, draws, books: books.clone() };
        tasks.spawn_vital("table", table.run(tasks.stop_token()));
        first += seats;
    }
}

/// How many sit at the next table, of `left` who have no seat. Nobody is left alone.
fn draw_seats(left: u32, draws: &mut Draws) -> u32 {
    let spread = SEATS.end() - SEATS.start() + 1;
    let seats = u32::try_from(SEATS.start() + draws.below(spread)).unwrap_or(u32::MAX);
    // One who would be left over sits with them.
    if left.saturating_sub(seats) < 2 { left } else { seats }
}

/// People who meet again and again.
struct Table {
    /// Number of its first client.
    number: u32,
    people: Vec<Person>,
    draws: Draws,
    books: Books,
}

impl Table {
    async fn run(mut self, stop: CancellationToken) {
        let mut round = 0;
        while !stop.is_cancelled() {
            let name = format!("table-{}-meeting-{}", self.number, round / SAME_NAME);
            self.meet(Room::new(name.clone(), &stop)).await;
            round += 1;
            if round % SAME_NAME == 0 {
                self.books.enter(|ledger, _| ledger.over(&name));
            }
            // Half of them go home and come as somebody else.
            for person in &mut self.people {
                if self.draws.below(2) == 0 {
                    person.close().await;
                }
            }
        }
        join_all(self.people.iter_mut().map(Person::close)).await;
    }

    async fn meet(&mut self, room: Room) {
        let draws = &mut self.draws;
        let visits: Vec<Visit> = (0..self.people.len()).map(|at| draw_visit(at, draws)).collect();
        let people = self.people.iter_mut().zip(&visits);
        join_all(people.map(|(person, visit)| person.attend(&room, visit))).await;
    }
}

/// What the participant at `at` does; the first is the host.
fn draw_visit(at: usize, draws: &mut Draws) -> Visit {
    let role = match (at, draws.below(3)) {
        (0, _) => Role::Host,
        (_, 0) => Role::Apart,
        _ => Role::Guest,
    };
    let joins_after = JOINS_WITHIN.mul_f64(draws.fraction());
    let stay = STAY.0 + STAY.1.mul_f64(draws.fraction());
    Visit { role, joins_after, stay }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_seat_and_company() {
        let mut draws = Draws::seeded(1);
        for sessions in 2..200 {
            let mut left = sessions;
            while left > 0 {
                let seats = draw_seats(left, &mut draws);
                assert!((2..=5).contains(&seats) && seats <= left, "{seats} of {left}");
                left -= seats;
            }
        }
    }

    #[test]
    fn a_meeting_has_one_host_and_guests_of_both_kinds() {
        let mut draws = Draws::seeded(1);
        let roles: Vec<Role> = (0..100).map(|at| draw_visit(at, &mut draws).role).collect();
        assert_eq!(roles.iter().filter(|role| **role == Role::Host).count(), 1);
        assert!(roles.contains(&Role::Guest) && roles.contains(&Role::Apart));
    }
}
