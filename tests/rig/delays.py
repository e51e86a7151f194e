"""Time between states. In moto an instance runs, stops and ends at once, and an image is available when it is asked for;
with a delay they are `pending`, `stopping` and `shutting-down` first, as in EC2, so that waiting is real."""

import threading

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance, InstanceState

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


def slow_down(seconds: float) -> None:
    EC2Backend.run_instances = launched_later(EC2Backend.run_instances, seconds)
    Instance.stop = changed_later(Instance.stop, "stopping", "stopped", seconds)
    Instance.terminate = changed_later(Instance.terminate, "shutting-down", "terminated", seconds)
    Ami.__init__ = available_later(Ami.__init__, seconds)


def launched_later(run, seconds: float):
    def run_instances(self, *args, **kwargs):
        reservation = run(self, *args, **kwargs)
        for instance in reservation.instances:
            pass_through(instance, "pending", "running", seconds)
        return reservation

    return run_instances


def changed_later(change, meanwhile: str, then: str, seconds: float):
    def change_state(self: Instance) -> InstanceState:
        previous = change(self)
        pass_through(self, meanwhile, then, seconds)
        return previous

    return change_state


def pass_through(instance: Instance, meanwhile: str, then: str, seconds: float) -> None:
    """Sets the state, and the one after it later, unless the instance was told something else by then."""
    state = InstanceState(meanwhile, CODES[meanwhile])
    instance._state = state

    def arrive() -> None:
        if instance._state is state:
            instance._state = InstanceState(then, CODES[then])

    later(seconds, arrive)


def available_later(make, seconds: float):
    def make_image(self: Ami, ec2_backend, ami_id, **attributes) -> None:
        make(self, ec2_backend, ami_id, **attributes)
        self.state = "pending"
        later(seconds, lambda: setattr(self, "state", "available"))

    return make_image


def later(seconds: float, act) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
