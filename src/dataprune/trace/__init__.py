"""What the members said about every example after every epoch: recorded once, scored many times."""

from dataprune.trace.member import CHANNELS, MemberTrace, open_member, save_member
from dataprune.trace.record import Recorder
from dataprune.trace.trace import Trace
