# SPDX-License-Identifier: Apache-2.0
# Man pages go into dist_man_MANS, the guides into dist_doc_DATA.
dist_man_MANS += docs/afpactl.1 docs/afpa.7 docs/ngx_http_afpa_module.8 docs/mod_afpa.8
dist_doc_DATA += docs/operators-guide.md docs/measurements.md docs/policy.md
