# SPDX-License-Identifier: Apache-2.0
"""The servers under test.  Each file here has a list SERVERS of classes; the order below is that of tables."""
from . import afpactl, floor, h2o, httpd, lighttpd, nginx, trafficserver, varnish

ALL = {one.name: one for module in (floor, afpactl, nginx, httpd, lighttpd, h2o, varnish, trafficserver) for one in module.SERVERS}
