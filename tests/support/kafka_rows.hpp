#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace ziyu::test {

/// Properties of Kafka that a service is given together, and what is said of them.
struct kafka_row {
  enum class guarantee : uint8_t { any, at_least_once, exactly_once };

  std::vector<std::string> properties; ///< "kafka.…=value", as for --set.
  std::string mistake = {};            ///< In the refusal; empty: accepted.
  guarantee with = guarantee::any;
  bool by_programs = false; ///< Also tried with the programs, which takes longer.
};

inline std::ostream& operator<<(std::ostream& out, const kafka_row& x) {
  for (const auto& each : x.properties)
    out << each << ' ';
  return out;
}

/// The time of a transaction, a request, a session.
inline std::vector<kafka_row> time_rows() {
  using enum kafka_row::guarantee;
  return {
    {{}, "", any, true},
    {{"kafka.socket.timeout.ms=40000"}, "", at_least_once},
    {{"kafka.producer.socket.timeout.ms=40000"},
     "transaction.timeout.ms + 100",
     exactly_once,
     true},
    {{"kafka.socket.timeout.ms=999"}, "kafka.socket.timeout.ms=999", any, true},
    {{"kafka.producer.socket.timeout.ms=10"}, "kafka.producer.socket.timeout.ms=10"},
    {{"kafka.consumer.socket.timeout.ms=1499"}, "1000 below socket.timeout.ms"},
    {{"kafka.consumer.socket.timeout.ms=1500"}},
    {{"kafka.consumer.fetch.wait.max.ms=9001"},
     "1000 below socket.timeout.ms, which is 10000",
     any,
     true},
    {{"kafka.consumer.fetch.wait.max.ms=20000", "kafka.consumer.socket.timeout.ms=21000"}},
    {{"kafka.producer.transaction.timeout.ms=19999"}, "shutdown.drain_ms", any, true},
    {{"kafka.producer.transaction.timeout.ms=60000"}},
    {{"kafka.producer.message.timeout.ms=30001"}, "at most transaction.timeout.ms", exactly_once},
    {{"kafka.producer.message.timeout.ms=0"}},
    {{"kafka.producer.message.timeout.ms=9999"}, "message.timeout.ms=9999", any, true},
    {{"kafka.producer.delivery.timeout.ms=20000", "kafka.producer.message.timeout.ms=30000"},
     "another name of message.timeout.ms",
     any,
     true},
    {{"kafka.producer.request.timeout.ms=1"}, "request.timeout.ms=1"},
    {{"kafka.consumer.session.timeout.ms=8999"},
     "heartbeat.interval.ms 3000 must be at most a third",
     any,
     true},
    {{"kafka.consumer.session.timeout.ms=soon"}, "session.timeout.ms", any, true},
    {{"kafka.session.timeout.ms=3600001"}, "session.timeout.ms"},
    {{"kafka.heartbeat.interval.ms=15001"}, "heartbeat.interval.ms=15001"},
    {{"kafka.max.poll.interval.ms=9999"}, "max.poll.interval.ms 9999"},
    {{"kafka.consumer.session.timeout.ms=6000", "kafka.consumer.heartbeat.interval.ms=2000"}},
    {{"kafka.statistics.interval.ms=0"}, "statistics.interval.ms=0", any, true},
    {{"kafka.producer.statistics.interval.ms=1000"}},
    {{"kafka.consumer.auto.commit.interval.ms=0"}, "auto.commit.interval.ms=0"},
    {{"kafka.consumer.auto.commit.interval.ms=60001"}, "auto.commit.interval.ms=60001"},
    {{"kafka.reconnect.backoff.ms=5000"}},
    {{"kafka.reconnect.backoff.ms=5000", "kafka.reconnect.backoff.max.ms=4000"},
     "`reconnect.backoff.max.ms` must be >=",
     any,
     true},
    {{"kafka.retry.backoff.max.ms=60000"}, "retry.backoff.max.ms=60000"},
    {{"kafka.topic.metadata.propagation.max.ms=60000"}, "propagation.max.ms=60000"},
    {{"kafka.producer.linger.ms=0.5"}},
    {{"kafka.producer.linger.ms=5.0"}, "", any, true},
    {{"kafka.producer.linger.ms=1234.567"}},
    {{"kafka.producer.linger.ms=05.0"}, "linger.ms=05.0"},
    {{"kafka.producer.linger.ms=2001"}, "linger.ms=2001", any, true},
    {{"kafka.queue.buffering.max.ms=60000"}, "queue.buffering.max.ms=60000"},
    {{"kafka.producer.linger.ms=nan"}, "linger.ms"},
  };
}

/// Delivery and order.
inline std::vector<kafka_row> delivery_rows() {
  using enum kafka_row::guarantee;
  return {
    {{"kafka.acks=1"}, "kafka.acks=1", any, true},
    {{"kafka.producer.request.required.acks=0"}, "request.required.acks=0"},
    {{"kafka.producer.acks=all"}},
    {{"kafka.producer.enable.idempotence=false"}, "enable.idempotence=false", any, true},
    {{"kafka.producer.enable.gapless.guarantee=true"}},
    {{"kafka.producer.max.in.flight=6"}, "at most 5", any, true},
    {{"kafka.max.in.flight.requests.per.connection=1"}},
    {{"kafka.retries=9"}, "kafka.retries=9"},
    {{"kafka.producer.message.send.max.retries=10"}},
    {{"kafka.producer.queuing.strategy=lifo"}, "lifo"},
    {{"kafka.producer.delivery.report.only.error=true"}, "delivery.report.only.error"},
    {{"kafka.producer.partitioner=random"}},
    {{"kafka.producer.partitioner=random", "delivery.ordering=key"},
     "delivery.ordering",
     any,
     true},
    {{"kafka.producer.partitioner=murmur2_random", "delivery.ordering=key"}},
    {{"kafka.producer.partitioner=nearest"}, "partitioner", any, true},
    {{"kafka.isolation.level=read_uncommitted"}, "kafka.isolation.level", any, true},
    {{"kafka.enable.auto.commit=true"}, "enable.auto.commit"},
    {{"kafka.consumer.auto.commit.enable=true"}, "auto.commit.enable"},
    {{"kafka.consumer.enable.auto.offset.store=true"}, "enable.auto.offset.store"},
    {{"kafka.consumer.auto.offset.reset=latest"}, "auto.offset.reset=latest", any, true},
    {{"kafka.producer.transactional.id=x"}, "delivery.transactional_id"},
  };
}

/// Sizes of records, requests and buffers.
inline std::vector<kafka_row> bytes_rows() {
  using enum kafka_row::guarantee;
  return {
    {{"kafka.message.max.bytes=1000"}, "kafka.message.max.bytes", any, true},
    {{"kafka.message.max.bytes=200000000"}, "", any, true},
    {{"kafka.consumer.fetch.max.bytes=200000000"}},
    {{"kafka.consumer.fetch.max.bytes=200000000",
      "kafka.consumer.receive.message.max.bytes=150000000"},
     "`receive.message.max.bytes` must be >=",
     any,
     true},
    {{"kafka.consumer.fetch.max.bytes=268435457"}, "jobs.max_in_flight_bytes"},
    {{"kafka.consumer.receive.message.max.bytes=20000000"}, "jobs.max_bytes"},
    {{"kafka.consumer.max.partition.fetch.bytes=1"}},
    {{"kafka.consumer.queued.max.messages.kbytes=2097151"},
     "prefetched of one partition",
     any,
     true},
    {{"kafka.consumer.queued.max.messages.kbytes=262144"}},
    {{"kafka.producer.queue.buffering.max.kbytes=1000"},
     "hold one record of message.max.bytes",
     any,
     true},
    {{"kafka.producer.queue.buffering.max.messages=1"}},
    {{"kafka.producer.batch.size=1"}},
    {{"kafka.producer.batch.num.messages=0"}, "batch.num.messages", any, true},
    {{"kafka.compression.type=lz5"}, "compression", any, true},
    {{"kafka.compression.type=zstd", "kafka.compression.level=12"}},
    {{"kafka.producer.compression.level=13"}, "compression.level"},
    {{"kafka.producer.compression.type=lz4", "kafka.producer.compression.codec=gzip"},
     "another name",
     any,
     true},
  };
}

/// The consumer group.
inline std::vector<kafka_row> group_rows() {
  using enum kafka_row::guarantee;
  return {
    {{"kafka.consumer.group.id="}, "kafka.consumer.group.id is empty", any, true},
    {{"kafka.group.id="}, "kafka.group.id"},
    {{"kafka.consumer.group.id=other", "kafka.producer.group.id=ignored"}},
    {{"kafka.group.instance.id=one"}},
    {{"kafka.group.protocol=consumer"}, "the classic protocol", any, true},
    {{"kafka.partition.assignment.strategy=nonsense"}, "Unsupported partition.assignment.strategy"},
    {{"kafka.partition.assignment.strategy=range,cooperative-sticky"},
     "same protocol type",
     any,
     true},
    {{"kafka.partition.assignment.strategy=cooperative-sticky"}},
    {{"kafka.client.rack=r1"}},
  };
}

inline std::vector<kafka_row> security_rows() {
  using enum kafka_row::guarantee;
  const std::string sasl = "kafka.security.protocol=sasl_plaintext",
                    tls = "kafka.security.protocol=ssl",
                    tokens = "kafka.sasl.mechanisms=OAUTHBEARER";
  return {
    {{"kafka.security.protocol=tls"}, "security.protocol"},
    {{sasl, "kafka.sasl.mechanisms=PLAIN"}, "sasl.username and sasl.password", any, true},
    {{sasl, "kafka.sasl.mechanisms=PLAIN", "kafka.sasl.username=u", "kafka.sasl.password=p"},
     "",
     any,
     true},
    {{sasl, "kafka.sasl.mechanisms=SCRAM-SHA-256"}, "sasl.username and sasl.password"},
    {{sasl, "kafka.sasl.mechanisms=NONE"}, "Unsupported SASL mechanism"},
    {{sasl, "kafka.sasl.mechanism=PLAIN", "kafka.sasl.mechanisms=GSSAPI"}, "another name"},
    {{"kafka.sasl.mechanisms=PLAIN"}}, // without SASL
    {{sasl, tokens}, "nobody would fetch tokens", any, true},
    {{"kafka.producer.security.protocol=SASL_SSL", "kafka.producer.sasl.mechanism=OAUTHBEARER"},
     "kafka.producer.sasl.mechanism=OAUTHBEARER"},
    {{sasl, tokens, "kafka.enable.sasl.oauthbearer.unsecure.jwt=true"}, "principal=NAME"},
    {{sasl, tokens, "kafka.enable.sasl.oauthbearer.unsecure.jwt=true",
      "kafka.sasl.oauthbearer.config=principal=ziyu"}},
    {{sasl, tokens, "kafka.sasl.oauthbearer.method=oidc"}, "sasl.oauthbearer.token.endpoint.url"},
    {{tls}},
    {{tls, "kafka.ssl.ca.location=/nonexistent/ca.pem"}, "ssl.ca.location", any, true},
    {{tls, "kafka.ssl.certificate.location=/nonexistent/c.pem"}, "ssl.certificate.location"},
    {{tls, "kafka.ssl.key.location=/nonexistent/k.pem"}, "ssl.key.location"},
    {{tls, "kafka.ssl.keystore.location=/nonexistent/k.p12"}, "ssl.keystore.password"},
    {{tls, "kafka.ssl.endpoint.identification.algorithm=http"}, "endpoint.identification"},
    {{tls, "kafka.ssl.endpoint.identification.algorithm=none"}},
    {{tls, "kafka.enable.ssl.certificate.verification=maybe"},
     "certificate.verification",
     any,
     true},
  };
}

/// Names and numbers as librdkafka reads them.
inline std::vector<kafka_row> spelling_rows() {
  using enum kafka_row::guarantee;
  return {
    {{"kafka.compresion.type=lz4"}, "compresion.type", any, true},
    {{"kafka.consumer.compresion.type=lz4"}, "compresion.type"},
    {{"kafka.Acks=1"}, "Acks"},
    {{"kafka.consumer.statistics.interval.ms=0x0"}, "statistics.interval.ms"},
    {{"kafka.consumer.statistics.interval.ms=0.0"}, "statistics.interval.ms"},
    {{"kafka.consumer.statistics.interval.ms=01000"}, "takes it for 512", any, true},
    {{"kafka.producer.message.timeout.ms=4294987296"}, "message.timeout.ms", any, true},
    {{"kafka.producer.message.timeout.ms=20000abc"}, "takes it for 20000"},
    {{"kafka.consumer.auto.commit.interval.ms=0x0"}, "auto.commit.interval.ms=0"},
    {{"kafka.consumer.fetch.wait.max.ms=0x1F4"}, "takes it for 500"},
    {{"kafka.producer.retries=4294967296"}, "takes it for 0"},
    {{"kafka.producer.transaction.timeout.ms=0x7530"}, "takes it for 30000"},
    {{"kafka.client.id=0x10"}}, // a text
    {{"kafka.producer.enable.idempotence=1"}},
  };
}

/// Properties that nobody may set.
inline std::vector<kafka_row> reserved_rows() {
  using enum kafka_row::guarantee;
  return {
    {{"kafka.producer.bootstrap.servers=127.0.0.1:2"}, "one cluster"},
    {{"kafka.metadata.broker.list=127.0.0.1:2"}, "another name"},
    {{"kafka.test.mock.num.brokers=1"}, "test.mock.num.brokers=1", any, true},
    {{"kafka.log.queue=true"}, "log.queue=true"},
    {{"kafka.topic.blacklist=image.*"}, "topic.blacklist"},
    {{"kafka.api.version.request=false"}, "api.version.request=false"},
    {{"kafka.internal.termination.signal=15"}, "internal.termination.signal=15"},
    {{"kafka.enabled_events=255"}, "enabled_events"},
    {{"kafka.plugin.library.paths=/nonexistent/plugin"}, "plugin.library.paths", any, true},
    {{"kafka.interceptors=x"}, "interceptors"},
    {{"kafka.socket_cb=x"}, "socket_cb"},
    {{"kafka.debug=nonsense"}, "debug", any, true},
    {{"kafka.allow.auto.create.topics=true"}},
  };
}

inline std::vector<kafka_row> kafka_rows() {
  std::vector<kafka_row> result;
  for (auto* rows : {time_rows, delivery_rows, bytes_rows, group_rows, security_rows, spelling_rows,
                     reserved_rows}) {
    const auto some = rows();
    result.insert(result.end(), some.begin(), some.end());
  }
  return result;
}

} // namespace ziyu::test
