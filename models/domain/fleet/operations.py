"""What can be asked of an instance."""

from enum import StrEnum


class OperationKind(StrEnum):
    INSTANCE_PROVISION = "instance.provision"
    INSTANCE_TERMINATE = "instance.terminate"
    INSTANCE_REINSTALL = "instance.reinstall"
