//! The series of a process that reads from Kafka; one that does not has none of them.
//!
//! Partitions come and go, and a metrics registry forgets none, so they are written here from the ledger. Nothing counts here.

use super::ledger::KafkaLedger;
use super::text_format::{Family, Format, Kind, push_label, put};

const COMMITTED: Family<'static> = Family {
    name: "laghound_kafka_committed_offset",
    kind: Kind::Gauge,
    help: "The offset that this process committed last: all before it is analyzed, or dropped and counted.",
};
const CONNECTED: Family<'static> = Family {
    name: "laghound_kafka_connected",
    kind: Kind::Gauge,
    help: "1 while the brokers answer and this process is a member of its group.",
};
const GIVEN_BACK: Family<'static> = Family {
    name: "laghound_kafka_given_back_messages_total",
    kind: Kind::Counter,
    help: "Messages read and given back with their partition before they were committed: they are read twice.",
};
const LAG: Family<'static> = Family {
    name: "laghound_kafka_lag_messages",
    kind: Kind::Gauge,
    help: "Messages of the partition that were not read yet.",
};
const UNCOMMITTED: Family<'static> = Family {
    name: "laghound_kafka_uncommitted_messages",
    kind: Kind::Gauge,
    help: "Messages of the partition that were read and are not committed yet.",
};

/// Appends all families, sorted by name.
pub(super) fn write(ledger: &KafkaLedger, format: Format, out: &mut String) {
    let partitions = &ledger.partitions;
    by_partition(&COMMITTED, ledger, format, out, |number| {
        partitions[&number].2.and_then(|offset| u64::try_from(offset).ok())
    });
    CONNECTED.header(out, format);
    put(out, format_args!("{} {}\n", CONNECTED.name, u8::from(ledger.connected)));
    GIVEN_BACK.header(out, format);
    put(out, format_args!("{} {}\n", GIVEN_BACK.name, ledger.given_back));
    by_partition(&LAG, ledger, format, out, |number| partitions[&number].0);
    by_partition(&UNCOMMITTED, ledger, format, out, |number| Some(partitions[&number].1));
}

fn by_partition(
    family: &Family<'_>,
    ledger: &KafkaLedger,
    format: Format,
    out: &mut String,
    value: impl Fn(i32) -> Option<u64>,
) {
    family.header(out, format);
    for number in ledger.partitions.keys() {
        let Some(value) = value(*number) else { continue };
        let mut labels = String::new();
        push_label(&mut labels, "topic", &ledger.topic);
        push_label(&mut labels, ",partition", &number.to_string());
        put(out, format_args!("{}{{{labels}}} {value}\n", family.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::read;

    #[test]
    fn partitions_have_what_is_known_of_them() {
        let partitions = [(0, (Some(12), 3, Some(40))), (7, (None, 0, None))].into();
        let topic = "otlp_spans".to_owned();
        let ledger = KafkaLedger { topic, connected: true, given_back: 5, partitions };
        let mut out = String::new();
        write(&ledger, Format::Text, &mut out);
        read(&out);
        let lines: Vec<&str> = out.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "laghound_kafka_committed_offset{topic=\"otlp_spans\",partition=\"0\"} 40",
            "laghound_kafka_connected 1",
            "laghound_kafka_given_back_messages_total 5",
            "laghound_kafka_lag_messages{topic=\"otlp_spans\",partition=\"0\"} 12",
            "laghound_kafka_uncommitted_messages{topic=\"otlp_spans\",partition=\"0\"} 3",
            "laghound_kafka_uncommitted_messages{topic=\"otlp_spans\",partition=\"7\"} 0",
        ];
        assert_eq!(lines, expected);
    }
}
