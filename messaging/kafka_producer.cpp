#include "messaging/kafka_producer.hpp"

#include "base/log.hpp"
#include "messaging/kafka_defaults.hpp"

#include <atomic>
#include <thread>

namespace ziyu::messaging {

namespace {

class kafka_producer : public producer {
public:
  kafka_producer(rd_kafka_t* client, report_handler on_report)
    : client_(client), events_(rd_kafka_queue_get_main(client)), on_report_(std::move(on_report)),
      thread_([this] { run(); }) {
    // nop
  }

  ~kafka_producer() override {
    // Pending records come back as failed reports.
    rd_kafka_purge(client_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(client_, 5'000);
    stopping_ = true;
    thread_.join();
    events_.reset();
    rd_kafka_destroy(client_);
  }

  expected<void> produce(const outgoing& x) override {
    const auto status = try_produce(client_, x, x.token);
    if (status == RD_KAFKA_RESP_ERR_NO_ERROR)
      return {};
    auto why = to_error(status, "produce to " + x.topic);
    const auto reach = refusal_of(status);
    if (reach == refusal::none || why.code != errc::kafka)
      return tl::unexpected(std::move(why));
    // librdkafka now knows that the topic is missing and fails at once; earlier its reports said
    // so.
    on_report_({{x.token, std::move(why), {}, reach}});
    return {};
  }

private:
  void run() {
    for (;;) {
      const auto last = stopping_.load();
      event_ptr event{rd_kafka_queue_poll(events_.get(), last ? 0 : 100)};
      if (event)
        on_event(*event);
      else if (last)
        return;
    }
  }

  void on_event(rd_kafka_event_t& event) {
    if (rd_kafka_event_type(&event) == RD_KAFKA_EVENT_ERROR) {
      spdlog::debug("producer: {}", rd_kafka_event_error_string(&event));
      return;
    }
    if (rd_kafka_event_type(&event) != RD_KAFKA_EVENT_DR)
      return;
    std::vector<delivery_report> reports;
    while (auto message = rd_kafka_event_message_next(&event)) {
      auto& report = reports.emplace_back();
      report.token = reinterpret_cast<uintptr_t>(message->_private);
      if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        refuse(report, *message);
      else
        report.where = {rd_kafka_topic_name(message->rkt), message->partition, message->offset};
    }
    on_report_(std::move(reports));
  }

  static void refuse(delivery_report& report, const rd_kafka_message_t& message) {
    report.failure = to_error(message.err, rd_kafka_topic_name(message.rkt));
    report.refused = refusal_of(message.err);
  }

  rd_kafka_t* client_;
  queue_ptr events_;
  report_handler on_report_;
  std::atomic<bool> stopping_{false};
  std::thread thread_; ///< Last: it uses all of the others.
};

} // namespace

expected<std::unique_ptr<producer>> make_kafka_producer(kafka_properties properties,
                                                        producer::report_handler on_report) {
  properties = with_producer_defaults(std::move(properties));
  auto conf = make_conf(properties);
  if (!conf)
    return tl::unexpected(conf.error());
  rd_kafka_conf_set_events(conf->get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
  char text[512];
  auto client = rd_kafka_new(RD_KAFKA_PRODUCER, conf->get(), text, sizeof text);
  if (client == nullptr)
    return fail(errc::invalid_config, std::string{"kafka producer: "} + text);
  conf->release();
  return std::make_unique<kafka_producer>(client, std::move(on_report));
}

} // namespace ziyu::messaging
