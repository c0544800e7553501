/* SPDX-License-Identifier: Apache-2.0
 *
 * Naming the files of a directory, and of the directories in it.
 */
#ifndef AFPACTL_TREE_H
#define AFPACTL_TREE_H

#include "load.h"

/* Adds every regular file below an absolute path that is a directory; what is none is skipped.  Symbolic links are followed, as
 * servers do, and the names kept as they are; one that leads back to a directory it is in is skipped. */
void tree_add(load_t *load, const char *path);

#endif
