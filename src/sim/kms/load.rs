//! What it costs a server to do its work: processor, memory, descriptors, threads.
//!
//! Numbers of a model, not of a machine: their proportions are what placement and scaling are
//! judged by. Times of calls are in `timing`.

use super::objects::{Object, Objects};

/// Descriptors of a server that has just started. Source: with a limit of 80 a real one created
/// eight endpoints, gathered their candidates, and refused the ninth.
const FILES_IDLE: usize = 24;

/// Descriptors of a pipeline, and of an endpoint that has gathered. Source: measured, section 13.
const PIPELINE_FILES: usize = 2;
const GATHERED_FILES: usize = 7;

/// Threads of an endpoint, and further ones when it is negotiated. Source: measured, section 13.
const ENDPOINT_THREADS: usize = 1;
const NEGOTIATED_THREADS: usize = 2;

/// Filters that change the picture, and so decode and encode it.
const PICTURE_FILTERS: [&str; 4] =
    ["FaceOverlayFilter", "GStreamerFilter", "ImageOverlayFilter", "ZBarFilter"];

/// The model: whether calls take time, and what each thing on the server costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadModel {
    /// Whether calls take the time of a real server, longer under load. If not, each is answered at
    /// once.
    pub is_timed: bool,
    /// Shares of a processor.
    pub cpu: CpuWeights,
    /// Memory.
    pub memory: MemoryWeights,
}

/// What uses the processors, each in percent of one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuWeights {
    /// A leg: an endpoint that is negotiated. Encryption and forwarding of about 1 Mbit/s.
    pub leg: f64,
    /// A port of a mixer that is fed or feeds: decodes one picture, encodes one.
    pub mixer_port: f64,
    /// A recorder that records what it gets, as it gets it.
    pub recorder: f64,
    /// A player that plays, which decodes.
    pub player: f64,
    /// A picture that is decoded and encoded anew: a filter that is fed, a recorder or an endpoint
    /// fed by one that agreed on another codec.
    pub transcoding: f64,
}

impl Default for CpuWeights {
    fn default() -> Self {
        Self { leg: 1.0, mixer_port: 20.0, recorder: 3.0, player: 10.0, transcoding: 30.0 }
    }
}

/// What uses memory, each in kilobytes of resident memory. Source of the defaults but those of ports
/// and recorders: measured, section 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWeights {
    /// The server itself.
    pub idle_kb: usize,
    /// A connection.
    pub connection_kb: usize,
    /// Any object that is nothing below.
    pub object_kb: usize,
    /// An endpoint that has not begun to negotiate.
    pub endpoint_kb: usize,
    /// What a negotiated endpoint takes besides.
    pub negotiated_kb: usize,
    /// A port of a mixer.
    pub mixer_port_kb: usize,
    /// A recorder.
    pub recorder_kb: usize,
    /// An answer in the answer cache; memory once taken for answers is not given back.
    pub answer_kb: usize,
}

impl Default for MemoryWeights {
    fn default() -> Self {
        Self {
            idle_kb: 69_000,
            connection_kb: 12,
            object_kb: 1,
            endpoint_kb: 97,
            negotiated_kb: 300,
            mixer_port_kb: 8_000,
            recorder_kb: 4_000,
            answer_kb: 8,
        }
    }
}

/// How many things of each kind are on a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) endpoints: usize,
    negotiated: usize,
    gathered: usize,
    pipelines: usize,
    mixer_ports: usize,
    /// Of them, those that are fed or feed.
    mixer_ports_in_use: usize,
    recorders: usize,
    recorders_running: usize,
    players_running: usize,
    transcodings: usize,
    others: usize,
}

impl Census {
    /// Counts what is there.
    pub(super) fn of(objects: &Objects) -> Self {
        let mut census = Self::default();
        for (_, object) in objects.iter() {
            census.add(objects, object);
        }
        census
    }

    fn add(&mut self, objects: &Objects, object: &Object) {
        let media = &object.media;
        match object.class.name {
            "WebRtcEndpoint" | "RtpEndpoint" => {
                self.endpoints += 1;
                self.negotiated += usize::from(media.negotiation.is_done());
                self.gathered += usize::from(media.negotiation.has_gathered());
            }
            "HubPort" => {
                self.mixer_ports += 1;
                self.mixer_ports_in_use += usize::from(media.is_fed());
            }
            "RecorderEndpoint" => {
                self.recorders += 1;
                self.recorders_running += usize::from(object.is_in_state("START"));
            }
            "PlayerEndpoint" => {
                self.others += 1;
                self.players_running += usize::from(object.is_in_state("START"));
            }
            "MediaPipeline" => self.pipelines += 1,
            _ => self.others += 1,
        }
        self.transcodings += usize::from(transcodes(objects, object));
    }

    /// Percent of all `cpu_count` processors together, 100 at most.
    pub(super) fn cpu_percent(&self, weights: &CpuWeights, cpu_count: u32) -> f64 {
        let parts = [
            (self.negotiated, weights.leg),
            (self.mixer_ports_in_use, weights.mixer_port),
            (self.recorders_running, weights.recorder),
            (self.players_running, weights.player),
            (self.transcodings, weights.transcoding),
        ];
        let percent: f64 = parts.iter().map(|(count, weight)| *count as f64 * weight).sum();
        (percent / f64::from(cpu_count.max(1))).clamp(0.0, 100.0)
    }

    /// Resident kilobytes but for connections and answers.
    pub(super) fn memory_kb(&self, weights: &MemoryWeights) -> usize {
        weights.idle_kb
            + self.endpoints * weights.endpoint_kb
            + self.negotiated * weights.negotiated_kb
            + self.mixer_ports * weights.mixer_port_kb
            + self.recorders * weights.recorder_kb
            + (self.pipelines + self.others) * weights.object_kb
    }

    /// Open file descriptors but for those of connections.
    pub(super) fn files(&self) -> usize {
        FILES_IDLE + self.pipelines * PIPELINE_FILES + self.gathered * GATHERED_FILES
    }

    /// Threads but for those of an idle server.
    pub(super) fn threads(&self) -> usize {
        self.endpoints * ENDPOINT_THREADS + self.negotiated * NEGOTIATED_THREADS
    }
}

/// Whether `object` gets a picture in another form than it passes on.
pub(super) fn transcodes(objects: &Objects, object: &Object) -> bool {
    if PICTURE_FILTERS.contains(&object.class.name) {
        return object.media.is_fed();
    }
    let Some(own) = object.media.negotiation.video_codec() else {
        return false;
    };
    object.media.video_sources().any(|source| {
        let codec = objects.get(source).and_then(|o| o.media.negotiation.video_codec());
        codec.is_some_and(|codec| codec != own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_weighs_what_its_field_says() {
        let census = Census {
            negotiated: 10,
            mixer_ports_in_use: 2,
            recorders_running: 1,
            players_running: 1,
            transcodings: 1,
            ..Census::default()
        };
        let weights = CpuWeights::default();
        assert!((census.cpu_percent(&weights, 1) - 93.0).abs() < 1e-9);
        assert!((census.cpu_percent(&weights, 2) - 46.5).abs() < 1e-9);
        assert!((census.cpu_percent(&CpuWeights { leg: 50.0, ..weights }, 2) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn memory_descriptors_and_threads_add_up() {
        let census =
            Census { endpoints: 3, negotiated: 2, gathered: 2, pipelines: 1, ..Census::default() };
        let kb = census.memory_kb(&MemoryWeights::default());
        assert_eq!(kb, 69_000 + 3 * 97 + 2 * 300 + 1);
        assert_eq!(census.files(), 24 + 2 + 14);
        assert_eq!(census.threads(), 3 + 4);
    }
}
