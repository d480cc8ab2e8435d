"""An `InstanceListener` that writes down what it was told."""


class RecordedListener:
    def __init__(self):
        self.told = []

    def ready(self, model, holds, seconds):
        self.told.append(("ready", holds, seconds))

    def grew(self, model, holds):
        self.told.append(("grew", holds))

    def asleep(self, model, level, holds):
        self.told.append(("asleep", level, holds))

    def ended(self, model, *, out_of_memory):
        self.told.append(("ended", out_of_memory))

    def kinds(self):
        return [one[0] for one in self.told if one[0] != "grew"]
