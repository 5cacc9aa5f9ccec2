"""What the service itself costs: jobs of 1 KB for a model that does nothing, from a backlog, in worker processes as
always. Beside it, one Python loop on the same topic that only consumes, answers and commits."""

from . import command, models
from .images import small
from .stage import Stage, throughput
from .subjects import PythonLoop, Ziyu


class NoOpLoop(PythonLoop):
    flags = ("--no-op",)


def main():
    options = command.parser("control_plane", __doc__)
    options.add_argument("--jobs", type=int, default=1_000_000, help="backlog (default %(default)s)")
    command.add_settings(options)
    options = options.parse_args()
    report, before = command.begin("control_plane", options)
    with Stage() as stage:
        topic = stage.new_name("jobs")
        stage.create(topic)
        command.say(f"Writing {options.jobs} jobs ...")
        stage.fill(topic, [small()], options.jobs)
        run = lambda subject: lambda: throughput(stage, subject, topic, options.jobs, 600)
        found = command.in_turn(options.repetitions, python=run(NoOpLoop(models.folder("noop"), 1, 1)),
                                ziyu=run(Ziyu(models.folder("noop"), **command.settings_of(options))))
    for subject, results in found.items():
        report[subject] = {**command.summary(results, "jobs_per_second"),
                           "cpu_ms_per_second": command.cpu_summary(results)}
        report[subject]["own_us_per_job"] = round(
            1000 * report[subject]["cpu_ms_per_second"]["own"] / report[subject]["jobs_per_second"], 1)
    report["jobs"] = options.jobs
    report["of_python"] = round(report["ziyu"]["jobs_per_second"] / report["python"]["jobs_per_second"], 4)
    command.print_report(report, before)


if __name__ == "__main__":
    main()
