//! Where the people of a new pipeline are, as far as is said and known.

use std::net::IpAddr;

use geoip::Place;

use crate::protocol::json::Text;

/// Where people are, as the creator of a pipeline says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// `latitude` and `longitude`. These count more than an address.
    Place(Place),
    /// `clientAddress`.
    Addr(IpAddr),
}

/// Where a connection comes from, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vantage {
    /// The place of its client's address.
    Client(Place),
    /// That is not known; the place of the listener.
    Listener(Place),
}

/// The members of `properties` that say where people are.
#[derive(Debug, Default)]
pub(super) struct SaidParts {
    addr: Option<IpAddr>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl SaidParts {
    /// Takes the member `key` with the value `raw`, if it is one of these.
    ///
    /// # Errors
    /// A sentence for the client.
    pub(super) fn read(&mut self, key: Text<'_>, raw: &str) -> Result<(), String> {
        if key.is("clientAddress") {
            self.addr = Some(parse_addr(raw)?);
        } else if key.is("latitude") {
            self.latitude = Some(parse_degrees(raw, "latitude")?);
        } else if key.is("longitude") {
            self.longitude = Some(parse_degrees(raw, "longitude")?);
        }
        Ok(())
    }

    /// What they say together.
    ///
    /// # Errors
    /// A sentence for the client.
    pub(super) fn check(self) -> Result<Option<Said>, String> {
        match (self.latitude, self.longitude) {
            (Some(latitude), Some(longitude)) => {
                let place = Place::from_degrees(latitude, longitude).ok_or(
                    "'latitude' should be from -90 to 90, 'longitude' from -180 to 180, in degrees",
                )?;
                Ok(Some(Said::Place(place)))
            }
            (None, None) => Ok(self.addr.map(Said::Addr)),
            _ => Err("'latitude' and 'longitude' should be given together".to_owned()),
        }
    }
}

fn parse_addr(raw: &str) -> Result<IpAddr, String> {
    let addr = Text::of(raw).and_then(|text| text.decode().parse::<IpAddr>().ok());
    let addr = addr.ok_or("'clientAddress' should be a string with an IP address")?;
    Ok(addr.to_canonical())
}

fn parse_degrees(raw: &str, name: &str) -> Result<f64, String> {
    // Nothing else that JSON has begins so, and nothing that begins so is read as infinite or no number.
    let number =
        raw.parse().ok().filter(|_| raw.starts_with(|of: char| of.is_ascii_digit() || of == '-'));
    number.ok_or_else(|| format!("'{name}' should be a number, in degrees"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::request::{Hints, parse_request};

    fn hints(properties: &Value, may_say_place: bool) -> Result<Hints, String> {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "create",
            "params": {"type": "MediaPipeline", "properties": properties}});
        let text = text.to_string();
        let read = parse_request(&text, 64).unwrap().params.hints(may_say_place);
        read.map_err(|failure| failure.message.to_string())
    }

    #[test]
    fn who_is_trusted_may_say_where_people_are() {
        let paris = Place::from_degrees(48.86, 2.35).unwrap();
        let addr = |text: &str| Some(Said::Addr(text.parse().unwrap()));
        for (properties, said) in [
            (json!({}), None),
            (json!({"latitude": 48.86, "longitude": 2.35}), Some(Said::Place(paris))),
            (
                json!({"clientAddress": "203.0.113.7", "latitude": 48.86, "longitude": 2.35}),
                Some(Said::Place(paris)),
            ),
            (
                json!({"latitude": -0, "longitude": 0}),
                Some(Said::Place(Place::from_degrees(0.0, 0.0).unwrap())),
            ),
            (json!({"clientAddress": "203.0.113.7"}), addr("203.0.113.7")),
            (json!({"clientAddress": "::ffff:203.0.113.7"}), addr("203.0.113.7")),
            (json!({"clientAddress": "2001:db8::7"}), addr("2001:db8::7")),
        ] {
            assert_eq!(hints(&properties, true).unwrap().said, said, "{properties}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_where_it_would_count_and_else_passed_over() {
        for (properties, why) in [
            (json!({"clientAddress": "203.0.113"}), "'clientAddress' should be a string"),
            (json!({"clientAddress": 7}), "'clientAddress' should be a string"),
            (json!({"clientAddress": "203.0.113.7:80"}), "'clientAddress' should be a string"),
            (json!({"latitude": 48.86}), "'latitude' and 'longitude' should be given together"),
            (json!({"latitude": "48", "longitude": 2}), "'latitude' should be a number"),
            (json!({"latitude": 48, "longitude": null}), "'longitude' should be a number"),
            (json!({"latitude": 90.5, "longitude": 2}), "'latitude' should be from -90 to 90"),
            (json!({"latitude": 48, "longitude": 1e300}), "'latitude' should be from -90 to 90"),
        ] {
            let told = hints(&properties, true).unwrap_err();
            assert!(told.contains(why), "{properties}: {told}");
            assert_eq!(hints(&properties, false), Ok(Hints::default()), "{properties}");
        }
    }
}
