"""Submits an image to Ziyu and prints what it shows: any Kafka client will do.

usage: any_client.py BROKERS JOBS_TOPIC RESULTS_TOPIC IMAGE JOB_ID
"""
import base64
import json
import sys
import uuid

from confluent_kafka import Consumer, Producer

brokers, jobs, results, image, job_id = sys.argv[1:]

producer = Producer({"bootstrap.servers": brokers})
with open(image, "rb") as file:
    job = {"job_id": job_id, "image": base64.b64encode(file.read()).decode()}
producer.produce(jobs, json.dumps(job))
producer.flush(30)

consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"reader-{uuid.uuid4()}", "auto.offset.reset": "earliest"})
consumer.subscribe([results])
while True:
    message = consumer.poll(60)
    if message is None:
        sys.exit("no result within a minute")
    if message.error():
        sys.exit(str(message.error()))
    result = json.loads(message.value())
    if result["job_id"] == job_id:
        print(result["label"], result["confidence"])
        break
consumer.close()
