//! Metrics of the SDK, in the same registry as Darkroom's: its instruments are implemented by those
//! of the `metrics` crate. Durations are in seconds.

use std::{borrow::Cow, collections::HashMap, error::Error, sync::Arc, time::Duration};

use anyhow::anyhow;
use metrics::Label;
use temporalio_common::telemetry::{
    TelemetryOptions,
    metrics::{
        CoreMeter, Counter, CounterBase, Gauge, GaugeBase, GaugeF64, GaugeF64Base, Histogram,
        HistogramBase, HistogramDuration, HistogramDurationBase, HistogramF64, HistogramF64Base,
        MetricAttributable, MetricAttributes, MetricParameters, NewAttributes, TemporalMeter,
        UpDownCounter, UpDownCounterBase,
    },
    telemetry_init,
};

/// Returns the telemetry options for the SDK's runtime.
#[must_use]
pub fn telemetry_options() -> TelemetryOptions {
    TelemetryOptions::builder()
        .metrics(Arc::new(Meter) as Arc<dyn CoreMeter>)
        .attach_service_name(false)
        .build()
}

/// Creates the meter for the calls of a connection.
pub(crate) fn connection_meter() -> anyhow::Result<Option<TemporalMeter>> {
    let telemetry = telemetry_init(telemetry_options())
        .map_err(|error| anyhow!("cannot set up metrics of Temporal: {error}"))?;
    Ok(telemetry.get_temporal_metric_meter())
}

/// Factory of the SDK's instruments.
#[derive(Debug)]
struct Meter;

impl CoreMeter for Meter {
    fn new_attributes(&self, attributes: NewAttributes) -> MetricAttributes {
        MetricAttributes::NoOp(Arc::new(attributes.into()))
    }

    fn extend_attributes(
        &self,
        existing: MetricAttributes,
        attributes: NewAttributes,
    ) -> MetricAttributes {
        let mut labels = match existing {
            MetricAttributes::NoOp(labels) => Arc::unwrap_or_clone(labels),
            _ => HashMap::new(),
        };
        labels.extend(HashMap::<String, String>::from(attributes));
        MetricAttributes::NoOp(Arc::new(labels))
    }

    fn counter(&self, parameters: MetricParameters) -> Counter {
        Counter::new(Arc::new(Named(parameters.name)))
    }

    fn histogram(&self, parameters: MetricParameters) -> Histogram {
        Histogram::new(Arc::new(Named(parameters.name)))
    }

    fn histogram_f64(&self, parameters: MetricParameters) -> HistogramF64 {
        HistogramF64::new(Arc::new(Named(parameters.name)))
    }

    fn histogram_duration(&self, parameters: MetricParameters) -> HistogramDuration {
        HistogramDuration::new(Arc::new(Named(parameters.name)))
    }

    fn gauge(&self, parameters: MetricParameters) -> Gauge {
        Gauge::new(Arc::new(Named(parameters.name)))
    }

    fn gauge_f64(&self, parameters: MetricParameters) -> GaugeF64 {
        GaugeF64::new(Arc::new(Named(parameters.name)))
    }

    fn up_down_counter(&self, parameters: MetricParameters) -> UpDownCounter {
        UpDownCounter::new(Arc::new(Named(parameters.name)))
    }
}

/// An instrument without labels: its name.
struct Named(Cow<'static, str>);

/// An instrument with its labels.
struct Labeled<T>(T);

fn labels(attributes: &MetricAttributes) -> Vec<Label> {
    let MetricAttributes::NoOp(labels) = attributes else {
        return Vec::new();
    };
    labels
        .iter()
        .map(|(name, value)| Label::new(name.clone(), value.clone()))
        .collect()
}

/// Implements an instrument of the SDK by one of the `metrics` crate.
macro_rules! instrument {
    ($base:ident, $method:ident($value:ident: $type:ty), $instrument:ident!, $ours:ty => $record:expr) => {
        impl MetricAttributable<Box<dyn $base>> for Named {
            fn with_attributes(
                &self,
                attributes: &MetricAttributes,
            ) -> Result<Box<dyn $base>, Box<dyn Error>> {
                Ok(Box::new(Labeled(metrics::$instrument!(
                    self.0.clone(),
                    labels(attributes)
                ))))
            }
        }

        impl $base for Labeled<$ours> {
            fn $method(&self, $value: $type) {
                let record: fn(&$ours, $type) = $record;
                record(&self.0, $value);
            }
        }
    };
}

instrument!(CounterBase, adds(value: u64), counter!, metrics::Counter => metrics::Counter::increment);
instrument!(HistogramF64Base, records(value: f64), histogram!, metrics::Histogram => |ours, value| ours.record(value));
instrument!(HistogramBase, records(value: u64), histogram!, metrics::Histogram => |ours, value| ours.record(float(value)));
instrument!(HistogramDurationBase, records(value: Duration), histogram!, metrics::Histogram => |ours, value| ours.record(value));
instrument!(GaugeBase, records(value: u64), gauge!, metrics::Gauge => |ours, value| ours.set(float(value)));
instrument!(GaugeF64Base, records(value: f64), gauge!, metrics::Gauge => |ours, value| ours.set(value));
instrument!(UpDownCounterBase, adds(value: i64), gauge!, metrics::Gauge => |ours, value| ours.increment(signed(value)));

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is an estimate above 2^53"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is an estimate above 2^53"
)]
fn signed(value: i64) -> f64 {
    value as f64
}
