#!/usr/bin/env python3
"""A service as many a team writes it: consume, decode, resize, classify, produce, commit. It answers as Ziyu does, for
the same model folder, and knows nothing of leaks, deadlines or other workers. bench/peers/python_loop runs it."""

import argparse
import io
import json
import signal

from confluent_kafka import Consumer, KafkaException, Producer


def classifier(folder, top_k):
    """A function from an encoded image to the best classes."""
    import torch
    import torchvision
    from PIL import Image
    from torchvision.transforms import functional

    with open(f"{folder}/model.json", encoding="utf-8") as file:
        how = json.load(file)["input"]
    with open(f"{folder}/labels.txt", encoding="utf-8") as file:
        labels = file.read().splitlines()
    model = torch.jit.freeze(torch.jit.load(f"{folder}/model.pt").eval())
    resize = (how["height"], how["width"]) if how.get("squash") else how.get("resize", how["height"])
    kind = torchvision.transforms.InterpolationMode(how.get("interpolation", "bilinear"))

    def classify(image):
        picture = Image.open(io.BytesIO(image)).convert("L" if how["channels"] == "grey" else "RGB")
        picture = functional.center_crop(functional.resize(picture, resize, kind), (how["height"], how["width"]))
        tensor = functional.normalize(functional.to_tensor(picture), how["mean"], how["std"])
        with torch.inference_mode():
            scores, classes = model(tensor[None])[0].softmax(0).topk(min(top_k, len(labels)))
        return [{"label": labels[i], "index": i, "probability": p}
                for i, p in zip(classes.tolist(), scores.tolist())]

    return classify


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("brokers", "group", "jobs", "results", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--linger-ms", type=float, default=5)
    parser.add_argument("--no-op", action="store_true", help="answers without looking at the image")
    parser.add_argument("--top-k", type=int, default=5)
    options = parser.parse_args()
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    answer = [{"label": "yes", "index": 0, "probability": 1.0}]
    classify = (lambda _: answer) if options.no_op else classifier(options.model, options.top_k)
    consumer = Consumer({"bootstrap.servers": options.brokers, "group.id": options.group,
                         "auto.offset.reset": "earliest", "enable.auto.offset.store": False})
    producer = Producer({"bootstrap.servers": options.brokers, "linger.ms": options.linger_ms,
                         "queue.buffering.max.messages": 1_000_000})

    def keep(record):
        try:
            consumer.store_offsets(record)
        except KafkaException:  # its partition has gone to another process
            pass

    consumer.subscribe([options.jobs])
    while running:
        first = consumer.poll(0.1)
        if first is None:
            producer.poll(0)
            continue
        for record in [first] + (consumer.consume(499, 0) if options.no_op else []):
            if record.error():
                continue
            source = {"topic": record.topic(), "partition": record.partition(), "offset": record.offset()}
            result = {"schema": "result/1", "status": "ok", "source": source, "top_k": classify(record.value())}
            # A result that is lost would be lost for good: the offset is kept only when the broker has it.
            producer.produce(options.results, json.dumps(result), record.key(),
                             on_delivery=lambda why, _, record=record: why or keep(record))
        producer.poll(0)
    producer.flush(10)
    consumer.close()


if __name__ == "__main__":
    main()
