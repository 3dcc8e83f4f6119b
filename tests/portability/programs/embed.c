/* A program that embeds Python: embed [--sub-interpreter] TEXT

   With FROZEN_HEADER defined it also carries modules: a table `frozen` of them, ended by an entry without a name. */

#include <Python.h>
#include <string.h>

#ifdef FROZEN_HEADER
#include FROZEN_HEADER

static struct _frozen all[100];

static void freeze(void) {
    int count = 0;
    const struct _frozen *each;
    /* Before 3.11 the import system itself is in this table. */
    for (each = PyImport_FrozenModules; each != NULL && each->name != NULL; each++) all[count++] = *each;
    for (each = frozen; each->name != NULL; each++) all[count++] = *each;
    PyImport_FrozenModules = all;
}
#endif

int main(int argc, char **argv) {
    int status;
#ifdef FROZEN_HEADER
    freeze();
#endif
    Py_Initialize();
    if (argc == 3 && strcmp(argv[1], "--sub-interpreter") == 0) {
        PyThreadState *first = PyThreadState_Get(), *second = Py_NewInterpreter();
        if (second == NULL) return 120;
        status = PyRun_SimpleString(argv[2]);
        Py_EndInterpreter(second);
        PyThreadState_Swap(first);
    } else {
        status = PyRun_SimpleString(argv[1]);
    }
    if (Py_FinalizeEx() < 0) return 121;
    return status == 0 ? 0 : 1;
}
