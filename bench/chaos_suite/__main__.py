"""Harms services, brokers and network, and checks that no job is lost. See docs/chaos.md."""

from . import command
from .controls import run_controls, run_subject
from .run import run_chaos
from .stops import run_stops
from .subjects import VARIANTS


def main():
    made = command.parser("chaos", __doc__)
    made.add_argument("--minutes", type=float, default=2.0, help="of chaos (default 2)")
    made.add_argument("--only", action="append", metavar="KIND", help="only this kind of action; may be repeated")
    made.add_argument("--missing-dead-letters", action="store_true",
                      help="the dead-letter topic is created after half of the time only")
    made.add_argument("--subject", choices=VARIANTS, help="a consumer of the suite's own instead of the service")
    made.add_argument("--controls", action="store_true",
                      help="whether the judge catches each of the broken ones and not the correct one")
    made.add_argument("--stops", type=int, metavar="N",
                      help="instead of chaos: SIGTERM at N random moments, while another service goes on")
    options = command.parse(made)
    options.seconds = options.minutes * 60
    limit_s = options.seconds + options.drain_s + 300
    if options.controls:
        command.execute(made, options, run_controls, 20 * limit_s)
    elif options.subject:
        command.execute(made, options, lambda x: run_subject(x, x.subject), limit_s)
    elif options.stops:
        command.execute(made, options, run_stops, limit_s + 20 * options.stops)
    else:
        command.execute(made, options, run_chaos, limit_s)


if __name__ == "__main__":
    main()
