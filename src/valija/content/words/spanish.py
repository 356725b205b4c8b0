"""The words of reports in Spanish: that of all countries, speaking to a reader as `usted`."""

from typing import Final

from valija.content.reported import ReportKind
from valija.content.trouble import Actor, Trouble
from valija.content.words.vocabulary import Advice, Pair, Vocabulary

_ADVICE: Final = {
    Trouble.NO_SUCH_USER: Advice(
        "La dirección no existe.",
        "Compruebe si hay alguna errata, o pida al destinatario la dirección correcta, y envíe el mensaje de nuevo.",
    ),
    Trouble.NO_SUCH_DOMAIN: Advice(
        "La parte de la dirección que sigue a la @ no existe.",
        "Compruebe si hay alguna errata después de la @ y envíe el mensaje de nuevo.",
    ),
    Trouble.BAD_ADDRESS: Advice(
        "La dirección, tal como está escrita, no fue aceptada.",
        "Revísela letra por letra y envíe el mensaje de nuevo.",
    ),
    Trouble.MOVED: Advice(
        "El destinatario se ha mudado a otra dirección, y no se sabe a cuál.",
        "Pida al destinatario su nueva dirección.",
    ),
    Trouble.OWN_ADDRESS: Advice(
        "El servidor del destinatario no acepta la dirección de usted como remitente.",
        "Revise su dirección en su programa de correo. Si es correcta, reenvíe este informe a su administrador de "
        "correo.",
    ),
    Trouble.NULL_MX: Advice(
        "El dominio de la dirección declara que no recibe correo alguno.",
        "Pida al destinatario otra dirección.",
    ),
    Trouble.MAILBOX_CLOSED: Advice(
        "El buzón del destinatario está cerrado.",
        "Pida al destinatario otra dirección, por otro medio.",
    ),
    Trouble.MAILBOX_FULL: Advice(
        "El buzón del destinatario está lleno.",
        "Avise al destinatario por otro medio para que libere espacio y, cuando lo haya hecho, envíe el mensaje de "
        "nuevo.",
    ),
    Trouble.MAILBOX: Advice(
        "Hay algún problema con el buzón del destinatario.",
        "Avise al destinatario por otro medio: solo él o su administrador de correo pueden resolverlo.",
    ),
    Trouble.TOO_LARGE: Advice(
        "El mensaje es más grande de lo que acepta el servidor del destinatario.",
        "Envíelo con menos archivos adjuntos o con archivos más pequeños, o comparta los archivos grandes mediante "
        "un enlace.",
    ),
    Trouble.TOO_MANY: Advice(
        "El mensaje tiene más destinatarios de los que el servidor acepta de una vez.",
        "Envíelo a menos destinatarios cada vez.",
    ),
    Trouble.THEIR_SERVER: Advice(
        "El servidor de correo del destinatario está averiado.",
        "Envíe el mensaje de nuevo más tarde. Si se lo devuelven otra vez, avise al destinatario por otro medio.",
    ),
    Trouble.OUR_SERVER: Advice(
        "Este servidor, o su configuración, tiene un fallo.",
        "Reenvíe este informe a su administrador de correo.",
    ),
    Trouble.UNREACHABLE: Advice(
        "No se pudo establecer contacto con el servidor de correo del destinatario.",
        "Compruebe si hay alguna errata después de la @. Si no la hay, avise al destinatario por otro medio y envíe "
        "el mensaje de nuevo más tarde.",
    ),
    Trouble.PUT_OFF: Advice(
        "El servidor del destinatario responde que aceptará el mensaje más tarde. Muchos servidores lo hacen cuando "
        "están ocupados o cuando todavía no conocen al remitente (listas grises).",
        "Envíe el mensaje de nuevo más tarde. Si se lo devuelven otra vez, avise al destinatario por otro medio: su "
        "administrador de correo puede averiguar por qué el servidor nunca lo aceptó.",
    ),
    Trouble.LOOP: Advice(
        "El mensaje dio vueltas entre servidores sin llegar a ningún buzón.",
        "Reenvíe este informe a su administrador de correo: alguno de los servidores del camino devuelve el correo "
        "al lugar del que vino.",
    ),
    Trouble.DEADLINE: Advice(
        "El mensaje debía entregarse dentro de un plazo que usted fijó, y ese plazo ha vencido.",
        "Si todavía es útil, envíelo de nuevo con más tiempo o sin plazo.",
    ),
    Trouble.NO_DEADLINE: Advice(
        "Usted pidió que el mensaje se entregara dentro de un plazo o volviera. El servidor del destinatario no puede "
        "garantizarlo, así que el mensaje no se envió.",
        "Envíelo de nuevo sin ese plazo.",
    ),
    Trouble.PROTOCOL: Advice(
        "Los dos servidores de correo no se entendieron.",
        "Reenvíe este informe a su administrador de correo.",
    ),
    Trouble.SCRIPT: Advice(
        "El servidor del destinatario no admite direcciones ni cabeceras escritas con letras que no sean las de la "
        "«a» a la «z», sin tildes ni eñes (no tiene SMTPUTF8).",
        "Pida al destinatario una dirección escrita solo con esas letras, y escríbale usted también desde una así.",
    ),
    Trouble.CONTENT: Advice(
        "El servidor del destinatario no aceptó la forma del mensaje.",
        "Envíelo en una forma más sencilla, por ejemplo sin archivos adjuntos poco comunes. Si no basta, reenvíe "
        "este informe a su administrador de correo.",
    ),
    Trouble.POLICY: Advice(
        "El servidor del destinatario rechazó el mensaje según sus propias reglas. A menudo es porque toma el "
        "mensaje, o todo lo que viene del mismo origen, por correo no deseado (spam).",
        "Lea más arriba lo que dijo: quizá explique a qué se opone. Si no le aclara nada, reenvíe este informe a su "
        "administrador de correo, que puede hablar con la otra parte.",
    ),
    Trouble.UNPROVEN_SENDER: Advice(
        "El servidor del destinatario no halló pruebas de que el mensaje venga del dominio de usted (SPF, DKIM, "
        "DMARC), o de que este servidor pueda enviar correo.",
        "Reenvíe este informe a su administrador de correo: hay que corregir los registros DNS o las firmas del "
        "dominio de usted.",
    ),
    Trouble.LOGIN: Advice(
        "El siguiente servidor exige que este se identifique, o que cifre, de una manera en que no lo hizo.",
        "Reenvíe este informe a su administrador de correo: hay que corregir la configuración de este servidor.",
    ),
    Trouble.TLS_BY_SETTING: Advice(
        "Este servidor está configurado para enviar allí solo por una conexión protegida (TLS), y no se logró ninguna "
        "en la que pueda confiar. Por eso el mensaje no se envió.",
        "Reenvíe este informe a su administrador de correo, que puede averiguar cuál de los dos servidores falla.",
    ),
    Trouble.TLS_BY_DOMAIN: Advice(
        "El dominio del destinatario anuncia que sus servidores admiten conexiones protegidas y demuestran quiénes "
        "son (DANE o MTA-STS). El servidor que respondió no pudo hacerlo: o está mal configurado, o alguien se ha "
        "puesto en medio. Por eso el mensaje no se envió.",
        "Avise al destinatario por otro medio: su administrador de correo tiene que revisar el certificado y los "
        "registros DNS.",
    ),
    Trouble.TLS_BY_SENDER: Advice(
        "Usted pidió que el mensaje viajara solo por conexiones protegidas durante todo el camino (REQUIRETLS). El "
        "servidor del destinatario no lo promete, así que el mensaje no se envió.",
        "Envíelo de nuevo sin esa condición, si no importa que alguien pueda leerlo por el camino, o comuníquese con "
        "el destinatario por otro medio.",
    ),
    Trouble.BARRED: Advice(
        "Una regla de este servidor lo prohíbe.",
        "Pregunte a su administrador de correo, si las palabras de arriba no bastan.",
    ),
    Trouble.UNKNOWN: Advice(
        "Las palabras de arriba son todo lo que se sabe.",
        "Si no le aclaran nada, reenvíe este informe a su administrador de correo.",
    ),
}

SPANISH: Final = Vocabulary(
    language="es",
    follows="Este informe está escrito también en español, más abajo.",
    titles={
        ReportKind.FAILURE: "Correo no entregado",
        ReportKind.DELAY: "Correo retrasado",
        ReportKind.SUCCESS: "Correo entregado",
        ReportKind.RELAYED: "Correo transmitido",
    },
    recipients=Pair("{count} destinatario", "{count} destinatarios"),
    openings={
        ReportKind.FAILURE: Pair(
            "No se pudo entregar su mensaje al destinatario que figura más abajo. No se intentará de nuevo.",
            "No se pudo entregar su mensaje a los {count} destinatarios que figuran más abajo. No se intentará de "
            "nuevo.",
        ),
        ReportKind.DELAY: Pair(
            "Su mensaje todavía no se ha entregado al destinatario que figura más abajo. Esto es solo un aviso: este "
            "servidor sigue intentándolo, y no hace falta que envíe el mensaje de nuevo.",
            "Su mensaje todavía no se ha entregado a los {count} destinatarios que figuran más abajo. Esto es solo un "
            "aviso: este servidor sigue intentándolo, y no hace falta que envíe el mensaje de nuevo.",
        ),
        ReportKind.SUCCESS: Pair(
            "Su mensaje se entregó al destinatario que figura más abajo. Recibe esta confirmación porque la pidió.",
            "Su mensaje se entregó a los {count} destinatarios que figuran más abajo. Recibe esta confirmación porque "
            "la pidió.",
        ),
        ReportKind.RELAYED: Pair(
            "Su mensaje se pasó al servidor de correo del destinatario que figura más abajo.",
            "Su mensaje se pasó a los servidores de correo de los {count} destinatarios que figuran más abajo.",
        ),
    },
    named_in_part="Aquí solo figuran los primeros {count}. Todos constan en la parte siguiente de este informe.",
    same_answer="La respuesta fue la misma para estos {count} destinatarios:",
    refused="El servidor {host} rechazó el mensaje definitivamente, y dijo:",
    put_off="El servidor {host} no aceptó el mensaje en el último intento, y dijo:",
    found="Este servidor comprobó lo siguiente:",
    delivered_by="Lo entregó {host}.",
    delivered_here="Se entregó en el buzón de este servidor.",
    handed_to="Se pasó a {host}.",
    handed_on="Se pasó al servidor siguiente.",
    unreported="El servidor siguiente no confirma las entregas, así que no llegará ninguna otra confirmación.",
    untimed="El servidor siguiente no conoce el plazo que usted fijó para la entrega, y puede sobrepasarlo.",
    and_others=Pair("y 1 más", "y {count} más"),
    expired="El plazo de entrega venció después de {duration}.",
    retried_until="Se seguirá intentando hasta el {date}.",
    meaning="Qué significa",
    actor="Quién tiene que actuar",
    deed="Qué hacer",
    actors={
        Actor.SENDER: "Usted.",
        Actor.SENDER_OR_POSTMASTER: "Usted o su administrador de correo.",
        Actor.RECIPIENT: "El destinatario.",
        Actor.OUR_POSTMASTER: "Su administrador de correo.",
        Actor.THEIR_POSTMASTER: "El administrador de correo del destinatario.",
    },
    their_postmaster="El administrador de correo de {domain}.",
    advice=_ADVICE,
    arrived="El mensaje llegó aquí el {date}; su identificador en la cola es {queue_id}.",
    held="Como usted pidió, se retuvo hasta el {date}.",
    due="Usted pidió que se entregara antes del {date}.",
    contact="Este informe lo escribió el servidor de correo {hostname}. Su administrador de correo responde a las "
    "preguntas en postmaster@{hostname}; indíquele el identificador en la cola.",
    units={
        "day": Pair("{count} día", "{count} días"),
        "hour": Pair("{count} hora", "{count} horas"),
        "minute": Pair("{count} minuto", "{count} minutos"),
        "second": Pair("{count} segundo", "{count} segundos"),
    },
    date="{weekday} {day} de {month} de {year} a las {time} UTC",
    weekdays=("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
    months=(
        "enero", "febrero", "marzo", "abril", "mayo", "junio",
        "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre",
    ),
)  # fmt: skip
